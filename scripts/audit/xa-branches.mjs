// Prepared XA branches as the servers list them, and whose they are. A gtrid of the library says which decision log
// decides it (every deployment has its own), which row that is, when it began and how long it may stay undecided.

/** 'ndtx', see libs/dtx/src/xa/xid.ts. */
export const FORMAT_ID = 0x6e647478;
const GTRID = /^([0-9a-f]{16})\.([0-9a-f]{6})\.([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})$/;

/** When a transaction began, by its id, in milliseconds since the epoch. */
export const startOf = (id) => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);

/** The id of the world's own decision log, or null when it has none. */
export async function logIdOf(databases) {
  if (!databases.has('order', 'dtx_xa_log')) return null;
  const rows = await databases.query('order', 'SELECT log_id FROM dtx_xa_log');
  return rows[0]?.log_id ?? null;
}

/** The row without which the log has lost rows, see libs/dtx/src/xa/xa-tables.ts. */
const SENTINEL = 'log~sentinel';

/** Whether a row of the log is about the log itself: its sentinel, or a fault of it. */
export const isOfLog = (id) => id.startsWith('log');

/**
 * Whether the log is where it belongs and has all its rows, as `{ isWhole, isHome, home, here, faults, doubtedUntilMs,
 * trustedFromMs }`; a log of a version that did not know this of itself is taken for both. `faults` are the rows of what
 * was found wrong with it. Of transactions that began before `doubtedUntilMs` the absence of a decision says nothing; at
 * those before `trustedFromMs` a person has looked.
 */
export async function logStateOf(databases) {
  const unknown = {
    isWhole: true,
    isHome: true,
    home: null,
    here: null,
    faults: [],
    doubtedUntilMs: 0,
    trustedFromMs: 0,
  };
  if (!databases.has('order', 'dtx_xa_log') || !databases.columnsOf('order', 'dtx_xa_log').has('home')) return unknown;
  const [{ server }] = await databases.query('order', 'SELECT VERSION() AS server');
  const place = /mariadb/i.test(server) ? '@@hostname, @@server_id, @@datadir' : '@@server_uuid';
  const [log] = await databases.query(
    'order',
    `SELECT home, CONCAT_WS('/', ${place}, DATABASE()) AS here, whole_since, ${msOf('trusted_from')} AS trusted FROM dtx_xa_log`,
  );
  const rows = await databases.query(
    'order',
    `SELECT id, state, last_error, ${msOf('created_at')} AS found FROM dtx_xa WHERE id LIKE 'log%'`,
  );
  const { home = null, here = null, whole_since: since = null, trusted = null } = log ?? {};
  const faults = rows.filter(({ id, state }) => id !== SENTINEL && state === 'PARKED');
  const doubts = faults.filter(({ id }) => ['log.truncated', 'log.tail'].includes(id));
  const isWhole = since === null || rows.some(({ id }) => id === SENTINEL);
  return {
    isWhole,
    isHome: home === null || home === here,
    home,
    here,
    faults,
    doubtedUntilMs: isWhole ? Math.max(0, ...doubts.map(({ found }) => Number(found))) : Number.POSITIVE_INFINITY,
    trustedFromMs: Number(trusted ?? 0),
  };
}

const msOf = (column) => `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${column}) DIV 1000`;

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
  const startMs = startOf(id);
  const whose = logId === own ? 'own' : 'another deployment';
  return { ...common, whose, id, startMs, deadlineMs: startMs + Number.parseInt(timeout, 16) };
}
