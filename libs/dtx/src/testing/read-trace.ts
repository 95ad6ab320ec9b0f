import { type DurableTable, type ShownTable } from '../core/durable/durable-table.js';
import type { TracedRow } from '../core/durable/operations-registry.js';
import { traceReaderOf } from '../core/durable/row-views.js';
import { BARRIER_TRACE as SAGA_BARRIER } from '../saga/barrier-trace.js';
import { BARRIER_TRACE as TCC_BARRIER } from '../tcc/barrier-trace.js';
import { durableTables } from './durable-tables.js';

/** A connection to the database of one app. */
export interface TraceConnection {
  query(statement: string, values: readonly unknown[]): Promise<unknown>;
}

const isShown = (table: DurableTable): table is DurableTable & { shown: ShownTable } => table.shown !== undefined;
const READERS = [...durableTables.filter(isShown).map(traceReaderOf), TCC_BARRIER, SAGA_BARRIER];

/**
 * Reads the rows of one global transaction from the database of an app, as `GET /dtx/traces/{gid}` shows them. For tools
 * that work beside the apps, also while those are down. With the default `tablePrefix`.
 * @param has tells whether the database has a table, since an app has only those of its schemes
 * @example
 *   const rows = await readTrace(connection, orderId, (table) => tables.has(table));
 */
export async function readTrace(
  connection: TraceConnection,
  gid: string,
  has: (table: string) => boolean,
): Promise<TracedRow[]> {
  const sql = connection as Parameters<(typeof READERS)[number]['read']>[0];
  const rows: TracedRow[] = [];
  for (const reader of READERS) if (has(reader.source)) rows.push(...(await reader.read(sql, gid)));
  return rows;
}
