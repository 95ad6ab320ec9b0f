// Drops a database that crashed programs have used. Open sessions and prepared XA branches would block it for ever.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { OperatorError } from '../cli/operator-error.js';
import { bytesOfXid, type ListedXid } from './xid-bytes.js';

const LOCK_WAIT_TIMEOUT = 1205;
const NO_SUCH_XID = 1397;

interface Branch {
  readonly formatId: number;
  readonly gtrid: Buffer;
  readonly bqual: Buffer;
}

const errnoOf = (error: unknown) => (error as { errno?: number } | null)?.errno;

async function rowsOf<Row>(connection: Connection, sql: string, values: unknown[] = []): Promise<Row[]> {
  const [rows] = await connection.query<RowDataPacket[]>(sql, values);
  return rows as Row[];
}

export async function dropDatabase(connection: Connection, database: string): Promise<void> {
  const exists = 'SELECT 1 AS known FROM information_schema.schemata WHERE schema_name = ?';
  if ((await rowsOf(connection, exists, [database])).length === 0) return;
  await connection.query('SET SESSION lock_wait_timeout = 5');
  for (let tries = 1; ; tries += 1) {
    await killSessions(connection, database);
    await rollBackBranches(connection, database);
    try {
      await connection.query(`DROP DATABASE IF EXISTS \`${database}\``);
      return;
    } catch (error) {
      if (errnoOf(error) !== LOCK_WAIT_TIMEOUT) throw error;
      if (tries === 4)
        throw new OperatorError(
          `cannot drop ${database}: a session holds locks in it; see SHOW PROCESSLIST and XA RECOVER`,
        );
    }
  }
}

async function killSessions(connection: Connection, database: string): Promise<void> {
  const rows = await rowsOf<{ session: number }>(
    connection,
    'SELECT id AS session FROM information_schema.processlist WHERE db = ? AND id <> CONNECTION_ID()',
    [database],
  );
  for (const { session } of rows) await connection.query(`KILL ${Number(session)}`).catch(() => {}); // it has ended
}

/**
 * Only branches of this database: each prepared branch has an uncommitted witness row with its gtrid there, which a dirty
 * read shows. Other sandboxes on the same server keep theirs.
 */
async function rollBackBranches(connection: Connection, database: string): Promise<void> {
  const branches = await preparedBranches(connection);
  if (branches.length === 0) return;
  const own = await witnessedIn(connection, database);
  const isOwn = ({ gtrid }: Branch) => own.has(gtrid.toString('hex')) || own.has(gtrid.toString('latin1'));
  for (const branch of branches.filter(isOwn)) await rollBack(connection, branch);
}

/** A killed session releases its branch a moment after KILL has returned. Until then the branch "does not exist". */
async function rollBack(connection: Connection, { formatId, gtrid, bqual }: Branch): Promise<void> {
  const xid = `X'${gtrid.toString('hex')}', X'${bqual.toString('hex')}', ${formatId}`;
  for (let tries = 1; tries <= 20; tries += 1) {
    const failure: unknown = await connection.query(`XA ROLLBACK ${xid}`).then(
      () => null,
      (error: unknown) => error,
    );
    if (errnoOf(failure) !== NO_SUCH_XID) return;
    await sleep(50);
  }
}

async function preparedBranches(connection: Connection): Promise<Branch[]> {
  const rows = await rowsOf<ListedXid>(connection, 'XA RECOVER CONVERT XID').catch(() =>
    rowsOf<ListedXid>(connection, 'XA RECOVER'),
  );
  return rows.map((row) => {
    const bytes = bytesOfXid(row);
    const length = Number(row.gtrid_length);
    return { formatId: Number(row.formatID), gtrid: bytes.subarray(0, length), bqual: bytes.subarray(length) };
  });
}

async function witnessedIn(connection: Connection, database: string): Promise<Set<string>> {
  const tables = await rowsOf<{ name: string }>(
    connection,
    "SELECT table_name AS name FROM information_schema.columns WHERE table_schema = ? AND column_name = 'gtrid'",
    [database],
  );
  const seen = new Set<string>();
  await connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED');
  for (const { name } of tables) {
    const sql = `SELECT DISTINCT gtrid FROM \`${database}\`.\`${name}\``;
    for (const { gtrid } of await rowsOf<{ gtrid: string | Buffer }>(connection, sql))
      seen.add(Buffer.isBuffer(gtrid) ? gtrid.toString('hex') : gtrid);
  }
  return seen;
}
