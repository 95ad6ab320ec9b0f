// Durable rows: every `dtx_` table whose rows are retried until they are final. Found by their columns, so that the tables
// of a later scheme are audited without being named here.
import { durableTables as libraryTables, tableNames } from 'nest-dtx/testing';
import type { Databases } from '../sandbox/database-reader.js';
import type { App } from '../servers/server-set.js';

export interface AppTable {
  readonly app: App;
  readonly table: string;
}

/** A row whose attempts are exhausted. */
export interface ParkedRow extends AppTable {
  readonly id: string;
  readonly scheme: string | null;
  readonly gid: string | null;
  readonly error: string;
  /** The call that retries it. */
  readonly retry: string;
}

/** The final states of the known tables. A PARKED row is not final: it waits for an operator. */
const FINISHED: Record<string, readonly string[]> = {
  [tableNames.outbox]: ['DONE', 'CANCELLED'],
  [tableNames.keyed]: ['DONE'],
  [tableNames.inbox]: ['HANDLED'],
  [tableNames.tcc]: ['CONFIRMED', 'CANCELLED'],
  [tableNames.saga]: ['COMPLETED', 'COMPENSATED'],
  [tableNames.xa]: ['DONE'],
  // A SENT row without a next attempt comes from a version that asked for no receipts.
  [tableNames.half]: ['DONE', 'SENT', 'ROLLED_BACK'],
  [tableNames.halfParked]: ['DONE'],
  [tableNames.notification]: ['DELIVERED', 'CLOSED'],
};

/** The scheme of a table that serves one scheme. Other tables have a column for it. */
const schemeOf = (table: string) => libraryTables.find(({ name }) => name === table)?.shown?.scheme ?? null;

/** The alert webhook is retried without end and delays nothing. */
const NOT_WORK = [tableNames.alert];

/** Every durable table of every app. */
export function durableTables(databases: Databases): AppTable[] {
  return databases.apps.flatMap((app) =>
    databases
      .tablesOf(app)
      .filter((table) => table.startsWith('dtx_') && !NOT_WORK.includes(table))
      .filter((table) => ['state', 'next_attempt_at'].every((column) => databases.columnsOf(app, table).has(column)))
      .map((table) => ({ app, table })),
  );
}

/** How many rows are in which state. */
export async function countByState(databases: Databases, { app, table }: AppTable): Promise<Record<string, number>> {
  const rows = await databases.query<{ state: string; number: bigint }>(
    app,
    `SELECT state, COUNT(*) AS number FROM ${table} GROUP BY state`,
  );
  return Object.fromEntries(rows.map(({ state, number }) => [state, Number(number)]));
}

/**
 * One line per table and state with unfinished rows. A row with a next attempt is unfinished in any state but PARKED, whose
 * next attempt is never due. A delayed message counts from its due time.
 */
export async function unfinishedWork(databases: Databases): Promise<string[]> {
  const lines: string[] = [];
  for (const { app, table } of durableTables(databases)) {
    const finished = FINISHED[table]?.map((state) => `'${state}'`).join(', ');
    const isUnfinished = finished
      ? `(next_attempt_at IS NOT NULL OR state NOT IN (${finished}))`
      : 'next_attempt_at IS NOT NULL';
    const waiting = libraryTables.find(({ name }) => name === table)?.delayed?.waiting;
    const isLater = waiting ? `(state = '${waiting}' AND next_attempt_at > UTC_TIMESTAMP(3))` : 'FALSE';
    const rows = await databases.query<{ state: string; number: bigint }>(
      app,
      `SELECT state, COUNT(*) AS number FROM ${table} WHERE ${forAnOperator(table)} AND NOT ${isLater} AND ${isUnfinished} GROUP BY state`,
    );
    lines.push(...rows.map(({ state, number }) => `${app}.${table}: ${number} ${state}`));
  }
  return lines;
}

/** Leaves out the rows that wait for an operator. A message with a key may wait behind such a row (see `checkKeyOrder`). */
const forAnOperator = (table: string) =>
  table === tableNames.keyed
    ? `state NOT IN ('PARKED', 'HELD') AND NOT (state = 'WAITING' AND EXISTS (SELECT 1 FROM ${table} head
        WHERE head.open_key = ${table}.open_key AND head.state IN ('PARKED', 'HELD')))`
    : `state <> 'PARKED'`;

interface StoredRow {
  id: string | bigint;
  scheme: string | null;
  gid: string | null;
  last_error: string | null;
}

export async function parkedRows(databases: Databases): Promise<ParkedRow[]> {
  const found: ParkedRow[] = [];
  for (const { app, table } of durableTables(databases)) {
    const columns = databases.columnsOf(app, table);
    const pick = (column: string) => (columns.has(column) ? column : `NULL AS ${column}`);
    const rows = await databases.query<StoredRow>(
      app,
      `SELECT id, ${pick('scheme')}, ${pick('gid')}, ${pick('last_error')} FROM ${table} WHERE state = 'PARKED' ORDER BY id LIMIT 10000`,
    );
    for (const row of rows) {
      const retry = `POST /dtx/transactions/${row.id}/retry of the ${app} app`;
      const error = row.last_error?.split('\n')[0] ?? '';
      found.push({
        app,
        table,
        id: String(row.id),
        scheme: row.scheme ?? schemeOf(table),
        gid: row.gid,
        error,
        retry,
      });
    }
  }
  return found;
}
