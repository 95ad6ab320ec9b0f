// Dropping a database that crashed programs have used: open sessions and prepared XA branches would block it for ever.
import { InfraError } from './place.mjs';

const LOCK_WAIT_TIMEOUT = 1205;
const NO_SUCH_XID = 1397;

export async function dropDatabase(connection, database) {
  const [[known]] = await connection.query('SELECT 1 AS known FROM information_schema.schemata WHERE schema_name = ?', [
    database,
  ]);
  if (!known) return;
  await connection.query('SET SESSION lock_wait_timeout = 5');
  for (let tries = 1; ; tries += 1) {
    await killSessions(connection, database);
    await rollBackBranches(connection, database);
    try {
      await connection.query(`DROP DATABASE IF EXISTS \`${database}\``);
      return;
    } catch (error) {
      if (error.errno !== LOCK_WAIT_TIMEOUT) throw error;
      if (tries === 4)
        throw new InfraError(
          `${database} cannot be dropped, something holds locks in it: see SHOW PROCESSLIST and XA RECOVER`,
        );
    }
  }
}

async function killSessions(connection, database) {
  const [rows] = await connection.query(
    'SELECT id AS session FROM information_schema.processlist WHERE db = ? AND id <> CONNECTION_ID()',
    [database],
  );
  for (const { session } of rows) await connection.query(`KILL ${Number(session)}`).catch(() => {}); // gone by itself
}

/**
 * Only branches of this very database: each prepared branch has an uncommitted witness row with its gtrid there, which
 * a dirty read shows. Other worlds on the same server keep theirs.
 */
async function rollBackBranches(connection, database) {
  const branches = await preparedBranches(connection);
  if (branches.length === 0) return;
  const own = await witnessedHere(connection, database);
  for (const branch of branches.filter(
    ({ gtrid }) => own.has(gtrid.toString('hex')) || own.has(gtrid.toString('latin1')),
  )) {
    await rollBack(connection, branch);
  }
}

/** A killed session lets go of its branch a moment after KILL has returned; until then the branch "does not exist". */
async function rollBack(connection, { formatId, gtrid, bqual }) {
  const xid = `X'${gtrid.toString('hex')}', X'${bqual.toString('hex')}', ${formatId}`;
  for (let tries = 1; tries <= 20; tries += 1) {
    const failure = await connection.query(`XA ROLLBACK ${xid}`).then(
      () => null,
      (error) => error,
    );
    if (failure?.errno !== NO_SUCH_XID) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function preparedBranches(connection) {
  // MariaDB has no CONVERT XID and answers with bytes; MySQL answers with text, which would garble bytes, unless asked for hex.
  const [rows] = await connection.query('XA RECOVER CONVERT XID').catch(() => connection.query('XA RECOVER'));
  return rows.map((row) => {
    const bytes = Buffer.isBuffer(row.data) ? row.data : Buffer.from(row.data.replace(/^0x/i, ''), 'hex');
    const length = Number(row.gtrid_length);
    return { formatId: Number(row.formatID), gtrid: bytes.subarray(0, length), bqual: bytes.subarray(length) };
  });
}

async function witnessedHere(connection, database) {
  const [tables] = await connection.query(
    "SELECT table_name AS name FROM information_schema.columns WHERE table_schema = ? AND column_name = 'gtrid'",
    [database],
  );
  const seen = new Set();
  await connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED');
  for (const { name } of tables) {
    const [rows] = await connection.query(`SELECT DISTINCT gtrid FROM \`${database}\`.\`${name}\``);
    for (const { gtrid } of rows) {
      seen.add(Buffer.isBuffer(gtrid) ? gtrid.toString('hex') : gtrid);
    }
  }
  return seen;
}
