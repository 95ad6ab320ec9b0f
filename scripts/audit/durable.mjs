// Durable rows: every `dtx_` table whose rows are work to be done until it is done. Found by their columns, so that the
// tables of a scheme that comes later are audited without being named here.

/** The states in which a row of a known table is finished. PARKED is neither: it waits for a person. */
const FINISHED = {
  dtx_outbox: ['DONE'],
  dtx_inbox: ['HANDLED'],
  dtx_tcc: ['CONFIRMED', 'CANCELLED'],
  dtx_xa: ['DONE'],
  // A SENT without a time to act was sent by a version that asked for no receipts.
  dtx_half: ['DONE', 'SENT', 'ROLLED_BACK'],
  dtx_half_parked: ['DONE'],
  dtx_notification: ['DELIVERED', 'CLOSED'],
};

/** The scheme of a table that serves only one; others have a column. */
const SCHEME = {
  dtx_outbox: 'local-message',
  dtx_tcc: 'tcc',
  dtx_xa: 'xa',
  dtx_half: 'half-message',
  dtx_half_parked: 'half-message',
  dtx_notification: 'notify',
};

/** Telling somebody is retried for as long as nobody listens, and delays nothing. */
const NOT_WORK = ['dtx_alert'];

/** Every durable table of every app, as { app, table }. */
export function durableTables(databases) {
  return databases.apps.flatMap((app) =>
    databases
      .tablesOf(app)
      .filter((table) => table.startsWith('dtx_') && !NOT_WORK.includes(table))
      .filter((table) => ['state', 'next_attempt_at'].every((column) => databases.columnsOf(app, table).has(column)))
      .map((table) => ({ app, table })),
  );
}

/** How many rows are in which state. */
export async function countByState(databases, { app, table }) {
  const rows = await databases.query(app, `SELECT state, COUNT(*) AS number FROM ${table} GROUP BY state`);
  return Object.fromEntries(rows.map(({ state, number }) => [state, Number(number)]));
}

/**
 * What is still to be done, as lines; empty when there is none. A row with a time to act is unfinished in any state but
 * PARKED, which keeps a time that never comes.
 */
export async function unfinishedWork(databases) {
  const lines = [];
  for (const { app, table } of durableTables(databases)) {
    const finished = FINISHED[table]?.map((state) => `'${state}'`).join(', ');
    const isUnfinished = finished
      ? `(next_attempt_at IS NOT NULL OR state NOT IN (${finished}))`
      : 'next_attempt_at IS NOT NULL';
    const rows = await databases.query(
      app,
      `SELECT state, COUNT(*) AS number FROM ${table} WHERE state <> 'PARKED' AND ${isUnfinished} GROUP BY state`,
    );
    lines.push(...rows.map(({ state, number }) => `${app}.${table}: ${number} ${state}`));
  }
  return lines;
}

/** Rows that gave up, as { app, table, id, scheme, gid, error, retry }. */
export async function parkedRows(databases) {
  const found = [];
  for (const { app, table } of durableTables(databases)) {
    const columns = databases.columnsOf(app, table);
    const pick = (column) => (columns.has(column) ? column : `NULL AS ${column}`);
    const rows = await databases.query(
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
        scheme: row.scheme ?? SCHEME[table] ?? null,
        gid: row.gid,
        error,
        retry,
      });
    }
  }
  return found;
}
