/** Reads rows of durable tables as operators see them: with their incidents, the actions of operators, and both ends of messages. */
import type { Sql } from '../database/sql-executor.js';
import { isoTime } from './alerts.js';
import type { DurableTable, Moment, ShownTable, TableRow } from './durable-table.js';
import { VIEW_COLUMNS } from './durable-table.js';
import type { SingleView, TimelineEntry, TracedRow, TraceReader, TransactionView } from './operations-registry.js';

/** Rows of one table in a trace. A transaction has a few. More rows than that are cut, and the trace says so. */
export const TRACED_ROWS_MAX = 100;

/** The columns of a view, as SQL. */
export function viewColumns({ scheme, columns }: ShownTable): string {
  return [...VIEW_COLUMNS, ...(scheme ? [] : ['scheme']), ...columns].join(', ');
}

export function viewOf(shown: ShownTable, row: TableRow): TransactionView {
  return {
    id: row.id,
    gid: (row.gid as string | null) ?? null,
    scheme: schemeOf(shown, row),
    what: shown.what(row),
    state: row.state,
    attempts: Number(row.attempts),
    nextAttemptAt: timeOrNever(row.next_attempt_at),
    lastError: (row.last_error as string | null) ?? null,
    createdAt: isoTime(shown.committedAt?.(row) ?? row.created_at)!,
  };
}

/** The due time, or null for a row that is never due by itself. */
function timeOrNever(at: unknown): string | null {
  const time = isoTime(at);
  return time?.startsWith('9999-') ? null : time;
}

/** The views of rows with their timelines, in the order of the rows. Two statements read the records of all rows. */
export async function singleViews(sql: Sql, shown: ShownTable, rows: readonly TableRow[]): Promise<SingleView[]> {
  if (rows.length === 0) return [];
  const ids = rows.map(({ id }) => id);
  const operations = await sql.query<TableRow[]>('SELECT * FROM dtx_operation WHERE subject_id IN (?) ORDER BY id', [
    ids,
  ]);
  const incidents = await sql.query<TableRow[]>(
    'SELECT subject_id, scheme, opened_at, alert_error FROM dtx_alert WHERE subject_id IN (?) ORDER BY id',
    [ids],
  );
  return Promise.all(
    rows.map(async (row) => {
      // Ids are unique only within a scheme, because callers may choose equal ids.
      const isOf = (one: TableRow) => one.subject_id === row.id && one.scheme === schemeOf(shown, row);
      const entries = [...incidents.filter(isOf).map(gaveUp), ...operations.filter(isOf).map(byOperator)];
      const timeline = [...timelineOf(shown.moments(row)), ...entries].sort((a, b) => a.at.localeCompare(b.at));
      const details = await shown.details?.(sql, row);
      return { ...viewOf(shown, row), timeline, ...(details && { details }) };
    }),
  );
}

/** The reader of a durable table for traces. It finds rows by an index. */
export function traceReaderOf(table: DurableTable & { readonly shown: ShownTable }): TraceReader {
  const { name, shown } = table;
  return {
    source: name,
    async read(sql, gid): Promise<TracedRow[]> {
      const rows = await sql.query<TableRow[]>(
        `SELECT ${viewColumns(shown)} FROM ${name} WHERE ${shown.tracedBy ?? 'gid'} = ? ORDER BY id LIMIT ${TRACED_ROWS_MAX + 1}`,
        [gid],
      );
      const views = await singleViews(sql, shown, rows);
      return views.map((view, index) => ({ ...view, source: name, message: shown.message?.(rows[index]!) ?? null }));
    },
  };
}

const schemeOf = ({ scheme }: ShownTable, row: TableRow) => scheme ?? String(row.scheme);

const gaveUp = (one: TableRow): TimelineEntry => ({
  at: isoTime(one.opened_at)!,
  event: `gave up: ${one.alert_error}`,
});

const byOperator = ({ at, action, operator, note }: TableRow): TimelineEntry => ({
  at: isoTime(at)!,
  event: `${action} by ${operator ?? 'an unnamed operator'}${note ? `: ${note}` : ''}`,
});

/** Keeps the given order. A time before its predecessor comes from another clock and is raised to it. */
function timelineOf(moments: readonly Moment[]): TimelineEntry[] {
  let last = '';
  return moments.flatMap(([at, event]) => {
    const time = isoTime(at);
    if (!time) return [];
    last = time > last ? time : last;
    return [{ at: last, event }];
  });
}
