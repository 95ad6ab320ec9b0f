/**
 * The keys of a page of orders, read from the ends of index ranges. Each range fixes all columns of an index before
 * (created_at, order_id), so it is sorted. A column that the caller left out has few values, and each of them is a range of
 * its own. So the cost of a page depends neither on its position nor on how rare the wanted orders are.
 */
import { ORDER_STATUSES, SCHEMES } from '../purchase-schemas.js';
import type { OrderFilters, Position } from './order-page-cursor.js';

export interface KeysOfPage {
  /** A SELECT with the columns `id` and `at`, newest first, and named parameters. */
  readonly sql: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/** The keys of the next `limit` orders after a position, or of the newest ones. */
export function keysOfPage(filters: OrderFilters, limit: number, after: Position | undefined): KeysOfPage {
  const parameters: Record<string, unknown> = {
    ...(filters.buyerId !== undefined && { buyerId: filters.buyerId }),
    ...(after && { at: after.createdAt, id: after.orderId }),
  };
  const value = (text: string): string => {
    const name = `word${Object.keys(parameters).length}`;
    parameters[name] = text;
    return `:${name}`;
  };
  const { index, prefixes } = prefixesOf(filters, value);
  // Two ranges instead of a row comparison (a, b) < (x, y), which both servers execute as a full scan. And two statements
  // instead of an OR, for which MariaDB reads the prefix from its newest row on.
  const behind = after === undefined ? [''] : ['created_at < :at', 'created_at = :at AND order_id < :id'];
  const ranges = prefixes.flatMap((prefix) => behind.map((one) => [...prefix, one].filter(Boolean).join(' AND ')));
  const newest = `ORDER BY at DESC, id DESC LIMIT ${limit}`;
  const selects = ranges.map(
    (range) =>
      `SELECT order_id AS id, created_at AS at FROM orders FORCE INDEX (${index})${range && ` WHERE ${range}`}
       ORDER BY created_at DESC, order_id DESC LIMIT ${limit}`,
  );
  const sql = selects.length === 1 ? selects[0]! : `${selects.map((one) => `(${one})`).join(' UNION ALL ')} ${newest}`;
  return { sql, parameters };
}

interface Prefixes {
  readonly index: string;
  /** The conditions on the first columns of the index, for each range. */
  readonly prefixes: readonly string[][];
}

function prefixesOf({ scheme, status, buyerId }: OrderFilters, value: (text: string) => string): Prefixes {
  const schemes = (scheme ? [scheme] : SCHEMES).map((one) => `scheme = ${value(one)}`);
  const statuses = (status ? [status] : ORDER_STATUSES).map((one) => `status = ${value(one)}`);
  const pairs = schemes.flatMap((one) => statuses.map((other) => [one, other]));
  if (buyerId !== undefined)
    return { index: 'newest_of_buyer', prefixes: pairs.map((pair) => ['buyer_id = :buyerId', ...pair]) };
  if (scheme !== undefined) return { index: 'newest_of_scheme', prefixes: pairs };
  if (status !== undefined) return { index: 'newest_of_status', prefixes: statuses.map((one) => [one]) };
  return { index: 'newest', prefixes: [[]] };
}
