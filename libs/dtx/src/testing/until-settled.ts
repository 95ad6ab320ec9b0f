import { setTimeout as sleep } from 'node:timers/promises';
import type { INestApplicationContext } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import type { DurableTable } from '../core/durable/durable-table.js';
import { DtxError } from '../core/errors/errors.js';
import { KEYED } from '../local-message/order/keyed-table.js';
import { untilDatabaseReady } from './database-ready.js';
import { durableTables, tableNames } from './durable-tables.js';

/** Options of `untilSettled`. Times in milliseconds. */
export interface UntilSettledOptions {
  /** Time limit for all rows to become final. Default 30 000. */
  readonly withinMs?: number;
  /** Interval between two looks. Default 25. */
  readonly everyMs?: number;
}

interface OpenRow {
  readonly table: string;
  readonly id: string;
  readonly state: string;
  readonly attempts: number | string;
  readonly last_error: string | null;
}

/** Rows that only an operator moves. */
const FOR_AN_OPERATOR = ['PARKED', 'HELD'];

/** The rows of one table that an error lists. */
const LISTED_MAX = 20;

/** An alert waits for the alert webhook. No work of the app depends on it. */
const TABLES = durableTables.filter(({ name }) => name !== tableNames.alert);

/**
 * Waits until every durable row of this app is final: outbox, inbox, half messages, TCC, sagas, XA, notifications. A delayed
 * message that is not due yet counts as settled. Call it
 * after the call that begins the work. A message that no row keeps (confirmed publish, and a notification before its
 * service has recorded it) is not seen.
 * @throws DtxError with the open rows, after `withinMs`, or at once when all open rows are PARKED, since those wait for an
 *   operator
 * @example
 *   await request(app.getHttpServer()).post('/orders').send(purchase).expect(201);
 *   await untilSettled(app, { withinMs: 10_000 });
 *   expect(await stock.left(purchase.sku)).toBe(9);
 */
export async function untilSettled(
  app: INestApplicationContext,
  { withinMs = 30_000, everyMs = 25 }: UntilSettledOptions = {},
): Promise<void> {
  const end = performance.now() + withinMs;
  const looks: Array<() => Promise<OpenRow[]>> = [];
  // One for each DtxModule of the application.
  for (const database of app.get(Database, { strict: false, each: true })) {
    await untilDatabaseReady(database, withinMs);
    for (const table of await existingTables(database)) looks.push(() => openRows(database, table));
  }
  for (;;) {
    const open = (await Promise.all(looks.map((look) => look()))).flat();
    if (open.length === 0) return;
    if (open.every(({ state }) => FOR_AN_OPERATOR.includes(state)))
      throw new DtxError(`${listed(open)}; PARKED and HELD rows wait for an operator`);
    if (performance.now() > end) throw new DtxError(`not settled after ${withinMs} ms: ${listed(open)}`);
    await sleep(everyMs);
  }
}

async function existingTables(database: Database): Promise<DurableTable[]> {
  const rows: Array<{ name: string }> = await database.own.query(
    'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()',
  );
  const names = new Set(rows.map(({ name }) => name));
  return TABLES.filter(({ name }) => names.has(database.names.inDatabase(name)));
}

/** A message behind a head that waits for an operator waits for the same one. */
const NOT_BEHIND_OPERATOR = ` AND (state <> 'WAITING' OR NOT EXISTS (SELECT 1 FROM ${KEYED.name} head
  WHERE head.open_key = ${KEYED.name}.open_key AND head.state IN ('PARKED', 'HELD')))`;

/** Open rows have a due time. A PARKED row has one that never comes. */
async function openRows(database: Database, { name, openStates, shown, delayed }: DurableTable): Promise<OpenRow[]> {
  const below = shown?.below;
  const isLater = delayed ? ` AND NOT (state = '${delayed.waiting}' AND next_attempt_at > UTC_TIMESTAMP(3))` : '';
  const rows: Array<Omit<OpenRow, 'table'>> = await database.own.query(
    `SELECT id, state, attempts, last_error FROM ${name}
     WHERE next_attempt_at IS NOT NULL AND state IN (?)${isLater}${name === KEYED.name ? NOT_BEHIND_OPERATOR : ''}${below === undefined ? '' : ' AND id < ?'} ORDER BY id LIMIT ${LISTED_MAX}`,
    [[...openStates], ...(below === undefined ? [] : [below])],
  );
  return rows.map((row) => ({ ...row, table: name }));
}

function listed(rows: readonly OpenRow[]): string {
  const lines = rows.map(({ table, id, state, attempts, last_error }) => {
    const error = last_error ? `, last error: ${last_error}` : '';
    return `${table} ${id} is ${state} after ${attempts} attempts${error}`;
  });
  return lines.join('; ');
}
