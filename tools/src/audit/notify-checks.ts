// Invariants of notifications: each result is delivered, or its notification is parked with an alert.
import { tableNames } from 'nest-dtx/testing';
import type { Databases } from '../sandbox/database-reader.js';
import type { App } from '../servers/server-set.js';
import type { AuditContext, Check, Figures } from './check-types.js';

const CHUNK = 1_000;
const LISTED_MAX = 20;
/** The demo's merchant, which the order app plays. The audit does not look at targets that a purchase names instead. */
const MERCHANT_PATH = '/payment-results';

export async function checkNotifications({ databases }: AuditContext): ReturnType<Check> {
  const app = databases.apps.find((one) => databases.has(one, tableNames.notification));
  if (!app) return null;
  const sql = `SELECT state, COUNT(*) AS number FROM ${tableNames.notification} GROUP BY state`;
  const rows = await databases.query<{ state: string; number: bigint }>(app, sql);
  if (rows.length === 0) return null;
  const figures: Figures = Object.fromEntries(rows.map(({ state, number }) => [state, number]));
  const violations = [...(await neverRecorded(databases, app)), ...(await neverArrived(databases, app))];
  if (databases.has('order', 'payment_result')) {
    const known = 'SELECT source, COUNT(*) AS number FROM payment_result GROUP BY source';
    const results = await databases.query<{ source: string; number: bigint }>('order', known);
    for (const { source, number } of results) figures[`results ${source}`] = number;
  }
  return { figures, violations };
}

/** If a default target is configured, every payment has a notification. */
async function neverRecorded(databases: Databases, app: App): Promise<string[]> {
  if (!databases.has(app, 'payment') || !(await hasDefaultTarget(databases, app))) return [];
  const rows = await databases.query<{ id: string; status: string }>(
    app,
    `SELECT p.order_id AS id, p.status FROM payment p
     LEFT JOIN ${tableNames.notification} n ON n.id = CONCAT(p.order_id, '.', p.status) WHERE n.id IS NULL LIMIT ${LISTED_MAX}`,
  );
  return rows.map(({ id, status }) => `payment ${id} is ${status}, and no notification of it was recorded`);
}

async function hasDefaultTarget(databases: Databases, app: App): Promise<boolean> {
  const sql = `SELECT 1 FROM ${tableNames.notification} WHERE target LIKE '%${MERCHANT_PATH}' LIMIT 1`;
  return (await databases.query(app, sql)).length > 0;
}

/** For a DELIVERED row the merchant must have the result. (A row that an operator settled is CLOSED instead.) */
async function neverArrived(databases: Databases, app: App): Promise<string[]> {
  if (!databases.has('order', 'payment_result')) return [];
  const violations: string[] = [];
  for (let after: string | null = ''; after !== null; ) {
    const sql = `SELECT id FROM ${tableNames.notification} WHERE id > ? AND state = 'DELIVERED' AND target LIKE '%${MERCHANT_PATH}' ORDER BY id LIMIT ${CHUNK}`;
    const rows: Array<{ id: string }> = await databases.query<{ id: string }>(app, sql, [after]);
    const ids = rows.map(({ id }) => id);
    const found = ids.length === 0 ? new Set<string>() : await arrived(databases, ids);
    const missing = ids.filter((id) => !found.has(id));
    violations.push(...missing.map((id) => `notification ${id} is DELIVERED, but the merchant does not have it`));
    after = ids.length === CHUNK ? ids[CHUNK - 1]! : null;
  }
  return violations;
}

async function arrived(databases: Databases, ids: readonly string[]): Promise<Set<string>> {
  const sql = 'SELECT event_id AS id FROM payment_result WHERE event_id IN (?)';
  const rows = await databases.query<{ id: string }>('order', sql, [ids]);
  return new Set(rows.map(({ id }) => id));
}
