// Prepared XA branches as the servers list them, and whose they are. A gtrid of the library says which decision log
// decides it (every deployment has its own), which row that is, when it began and how long it may stay undecided.

/** 'ndtx', see libs/dtx/src/xa/xid.ts. */
export const FORMAT_ID = 0x6e647478;
const GTRID = /^([0-9a-f]{16})\.([0-9a-f]{6})\.([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})$/;

/** The id of the world's own decision log, or null when it has none. */
export async function logIdOf(databases) {
  if (!databases.has('order', 'dtx_xa_log')) return null;
  const rows = await databases.query('order', 'SELECT log_id FROM dtx_xa_log');
  return rows[0]?.log_id ?? null;
}

/**
 * Every prepared branch of every server, as { app, formatId, gtrid, branch, whose, id?, startMs?, deadlineMs? };
 * `whose` is `own`, `another deployment` or `another program`.
 */
export async function preparedOn(databases) {
  const own = await logIdOf(databases);
  const found = [];
  for (const app of databases.apps) {
    // MariaDB has no CONVERT XID and answers with bytes; MySQL would garble bytes unless asked for hex.
    const rows = await databases.query(app, 'XA RECOVER CONVERT XID').catch(() => databases.query(app, 'XA RECOVER'));
    found.push(...rows.map((row) => branchOf(app, row, own)));
  }
  return found;
}

function branchOf(app, { data, formatID, gtrid_length: length }, own) {
  const bytes = Buffer.isBuffer(data) ? data : Buffer.from(data.replace(/^0x/i, ''), 'hex');
  const gtrid = bytes.toString('latin1', 0, Number(length));
  const branch = bytes.toString('latin1', Number(length));
  const common = { app, formatId: Number(formatID), gtrid, branch };
  const match = common.formatId === FORMAT_ID ? GTRID.exec(gtrid) : null;
  if (!match) return { ...common, whose: 'another program' };
  const [, logId, timeout, id] = match;
  const startMs = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  const whose = logId === own ? 'own' : 'another deployment';
  return { ...common, whose, id, startMs, deadlineMs: startMs + Number.parseInt(timeout, 16) };
}
