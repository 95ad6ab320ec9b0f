// Invariants of half messages: every prepared message has a verdict, and the verdict agrees with the business rows.
import { tableNames } from 'nest-dtx/testing';
import type { Databases } from '../sandbox/database-reader.js';
import type { App } from '../servers/server-set.js';
import type { AuditContext, Check } from './check-types.js';
import { countByState, type ParkedRow } from './durable-rows.js';
import type { QueueState } from './queue-states.js';

const CHUNK = 1_000;
const LISTED_MAX = 20;
const WAITING = /\.half-wait\.\d+ms\.v1$/;
const CHECKING = /\.half-check\.v1$/;

interface Sale {
  id: string;
  gid: string;
  state: string;
  take: string | null;
}

/** Prepared messages by state, and whether the stock of each flash sale agrees with its verdict. */
export async function checkHalfMessages({ databases, queues, parked }: AuditContext): ReturnType<Check> {
  const apps = databases.apps.filter((app) => databases.has(app, tableNames.half));
  if (apps.length === 0) return null;
  const prepared = {
    waitingCopies: messagesIn(queues, WAITING),
    checkCopies: messagesIn(queues, CHECKING),
    parkedCopies: parked.filter(({ table }) => table === tableNames.halfParked).length,
  };
  const figures: Record<string, number> = { ...prepared };
  const violations: string[] = [];
  for (const app of apps) {
    for (const [state, number] of Object.entries(await countByState(databases, { app, table: tableNames.half })))
      figures[state] = (figures[state] ?? 0) + number;
    violations.push(...(await salesAgainstVerdicts(databases, app, parked)));
  }
  violations.push(...(await ordersWithoutVerdict(databases)));
  const left = prepared.waitingCopies + prepared.checkCopies;
  if (left > 0) violations.push(`${left} prepared messages without a verdict`);
  return { figures, violations };
}

const messagesIn = (queues: readonly QueueState[] | null, name: RegExp) =>
  (queues ?? []).filter((queue) => name.test(queue.name)).reduce((sum, { ready, unacked }) => sum + ready + unacked, 0);

/** COMMITTED if and only if the stock was taken in the same commit. Then the order exists as well. */
async function salesAgainstVerdicts(databases: Databases, app: App, parked: readonly ParkedRow[]): Promise<string[]> {
  if (!databases.has(app, 'stock_take')) return [];
  const waiting = new Set(parked.map(({ gid }) => gid));
  const found: string[] = [];
  for (let after: string | null = ''; after !== null && found.length < LISTED_MAX; ) {
    const rows: Sale[] = await databases.query<Sale>(
      app,
      `SELECT h.id, h.gid, h.state, t.state AS take FROM ${tableNames.half} h LEFT JOIN stock_take t ON t.order_id = h.gid
       WHERE h.id > ? AND h.contract = 'flash.sold' ORDER BY h.id LIMIT ${CHUNK}`,
      [after],
    );
    const known = await knownOrders(databases, rows);
    for (const { gid, state, take } of rows) {
      const isCommitted = state !== 'ROLLED_BACK';
      if (isCommitted !== (take !== null))
        found.push(`${app}: half message of ${gid} is ${state}, its stock ${take ?? 'was not taken'}`);
      if (isCommitted && known && !known.has(gid) && !waiting.has(gid))
        found.push(`${app}: half message of ${gid} is ${state}, but the order app has no order of it`);
      if (!isCommitted && known?.has(gid))
        found.push(`${app}: half message of ${gid} is ${state}, yet there is an order`);
    }
    after = rows.length === CHUNK ? rows[CHUNK - 1]!.id : null;
  }
  return found.slice(0, LISTED_MAX);
}

/** Null if the sandbox has no orders. */
async function knownOrders(databases: Databases, rows: readonly Sale[]): Promise<Set<string> | null> {
  if (!databases.has('order', 'orders')) return null;
  if (rows.length === 0) return new Set();
  const ids = rows.map(({ gid }) => gid);
  const orders = await databases.query<{ order_id: string }>(
    'order',
    'SELECT order_id FROM orders WHERE order_id IN (?)',
    [ids],
  );
  return new Set(orders.map(({ order_id }) => order_id));
}

/** A message of this scheme cannot come from anywhere but a committed verdict. */
async function ordersWithoutVerdict(databases: Databases): Promise<string[]> {
  if (!databases.has('order', 'orders') || !databases.has('inventory', tableNames.half)) return [];
  const found: string[] = [];
  for (let after: string | null = ''; after !== null && found.length < LISTED_MAX; ) {
    const rows: Array<{ order_id: string }> = await databases.query<{ order_id: string }>(
      'order',
      `SELECT order_id FROM orders WHERE order_id > ? AND scheme = 'half-message' ORDER BY order_id LIMIT ${CHUNK}`,
      [after],
    );
    const ids: string[] = rows.map(({ order_id }) => order_id);
    const verdicts =
      ids.length === 0
        ? []
        : await databases.query<{ gid: string }>('inventory', `SELECT gid FROM ${tableNames.half} WHERE gid IN (?)`, [
            ids,
          ]);
    const known = new Set(verdicts.map(({ gid }) => gid));
    found.push(
      ...ids.filter((id) => !known.has(id)).map((id) => `order ${id} came by a half message that has no verdict`),
    );
    after = rows.length === CHUNK ? ids[CHUNK - 1]! : null;
  }
  return found.slice(0, LISTED_MAX);
}
