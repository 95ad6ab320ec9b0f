// Invariants of Idempotency-Keys: a key is written in the commit that makes its purchase exist.
import { tableNames } from 'nest-dtx/testing';
import type { Databases } from '../sandbox/database-reader.js';
import type { App } from '../servers/server-set.js';
import type { AuditContext, Check } from './check-types.js';
import type { ParkedRow } from './durable-rows.js';

const CHUNK = 1_000;
const LISTED_MAX = 20;

/** The routes whose keys stand for a purchase. */
const PURCHASE_ROUTES = [
  'POST /orders',
  'POST /orders/xa',
  'POST /orders/saga',
  'POST /checkouts',
  'POST /flash-sales',
];

interface KeyRow {
  route: string;
  idempotency_key: Buffer;
  gid: string;
  is_open: number | bigint;
}

/** One purchase per key, one key per purchase, and no key whose purchase does not exist. */
export async function checkKeys({ databases, parked }: AuditContext): ReturnType<Check> {
  const apps = databases.apps.filter((app) => databases.has(app, tableNames.idempotency));
  if (apps.length === 0) return null;
  const violations: string[] = [];
  let keys = 0n;
  for (const app of apps) {
    const sql = `SELECT COUNT(*) AS number FROM ${tableNames.idempotency}`;
    const [count] = await databases.query<{ number: bigint }>(app, sql);
    keys += count!.number;
    violations.push(...(await sharedPurchases(databases, app)), ...(await keysWithoutPurchase(databases, app, parked)));
  }
  return { figures: { keys }, violations };
}

async function sharedPurchases(databases: Databases, app: App): Promise<string[]> {
  const rows = await databases.query<{ gid: string; number: bigint }>(
    app,
    `SELECT gid, COUNT(*) AS number FROM ${tableNames.idempotency} GROUP BY gid HAVING COUNT(*) > 1 LIMIT ${LISTED_MAX}`,
  );
  return rows.map(({ gid, number }) => `${app}: ${gid} was made by ${number} different keys`);
}

/** A refusal leaves its outcome beside the key, and need not leave an order. */
async function keysWithoutPurchase(databases: Databases, app: App, parked: readonly ParkedRow[]): Promise<string[]> {
  if (!databases.has('order', 'orders')) return [];
  const waiting = new Set(parked.map(({ gid }) => gid));
  const found: string[] = [];
  let after: { route: string; key: Buffer } | null = { route: '', key: Buffer.alloc(0) };
  while (after) {
    const rows: KeyRow[] = await databases.query<KeyRow>(
      app,
      `SELECT route, idempotency_key, gid, outcome IS NULL AS is_open FROM ${tableNames.idempotency}
       WHERE (route, idempotency_key) > (?, ?) AND route IN (?) ORDER BY route, idempotency_key LIMIT ${CHUNK}`,
      [after.route, after.key, PURCHASE_ROUTES],
    );
    const open = rows.filter(({ gid, is_open }) => Number(is_open) === 1 && !waiting.has(gid));
    const known = await knownOrders(databases, open);
    for (const { gid, route } of open)
      if (!known.has(gid)) found.push(`${app}: a key of ${route} stands for ${gid}, which does not exist as an order`);
    const last: KeyRow | null = rows.length === CHUNK ? rows[CHUNK - 1]! : null;
    after = last && { route: last.route, key: last.idempotency_key };
  }
  return found;
}

async function knownOrders(databases: Databases, keys: readonly KeyRow[]): Promise<Set<string>> {
  if (keys.length === 0) return new Set();
  const sql = 'SELECT order_id FROM orders WHERE order_id IN (?)';
  const rows = await databases.query<{ order_id: string }>('order', sql, [keys.map(({ gid }) => gid)]);
  return new Set(rows.map(({ order_id }) => order_id));
}
