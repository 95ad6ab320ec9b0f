import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import { bytesOfXid, type ListedXid } from '../../tools/src/sandbox/xid-bytes.js';
import type { AppName, Sandbox } from '../fixtures/sandbox.js';
import type { RecordedBranch } from './installation-files.js';

type Row = Record<string, unknown>;

async function onDatabase<T>(sandbox: Sandbox, app: AppName, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await createConnection({
    uri: sandbox.databases[app],
    dateStrings: true,
    jsonStrings: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
  });
  try {
    return await work(connection);
  } finally {
    await connection.end();
  }
}

const rowsOf = async <R = Row>(connection: Connection, sql: string): Promise<R[]> =>
  (await connection.query<RowDataPacket[]>(sql))[0] as R[];

async function tablesOf(connection: Connection): Promise<string[]> {
  return (await rowsOf(connection, 'SHOW TABLES')).map((row) => String(Object.values(row)[0])).sort();
}

/** Text is written as text also for binary columns, so that its ids and times can be read and moved. */
function literal(connection: Connection, value: unknown): string {
  if (!Buffer.isBuffer(value)) return connection.escape(value);
  const text = value.toString('utf8');
  return connection.escape(Buffer.from(text).equals(value) ? text : value);
}

function insertOf(connection: Connection, table: string, row: Row, verb = 'INSERT'): string {
  const columns = Object.keys(row).map((column) => `\`${column}\``);
  const values = Object.values(row).map((value) => literal(connection, value));
  return `${verb} INTO \`${table}\` (${columns.join(', ')}) VALUES (${values.join(', ')})`;
}

/** Definitions and committed rows of every table, as SQL. */
export function dumpOf(sandbox: Sandbox, app: AppName): Promise<string> {
  return onDatabase(sandbox, app, async (connection) => {
    const statements: string[] = [];
    for (const table of await tablesOf(connection)) {
      const [definition] = await rowsOf(connection, `SHOW CREATE TABLE \`${table}\``);
      statements.push(String(definition!['Create Table']));
      for (const row of await rowsOf(connection, `SELECT * FROM \`${table}\``))
        statements.push(insertOf(connection, table, withoutPlace(table, row)));
    }
    return `${statements.join(';\n')};\n`;
  });
}

/** The decision log belongs to the host and folder of the recording. Without that, the first instance that opens it takes it over. */
function withoutPlace(table: string, row: Row): Row {
  return table === 'dtx_xa_log' && 'home' in row ? { ...row, home: null } : row;
}

/** The rows of a database with those of prepared branches, as statements that write them. */
export function dirtyRows(sandbox: Sandbox, app: AppName): Promise<Set<string>> {
  return onDatabase(sandbox, app, async (connection) => {
    await connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED');
    const found = new Set<string>();
    for (const table of await tablesOf(connection))
      for (const row of await rowsOf(connection, `SELECT * FROM \`${table}\``))
        found.add(insertOf(connection, table, row, 'REPLACE'));
    return found;
  });
}

/** Every prepared branch of the server of this app. */
export function preparedXids(
  sandbox: Sandbox,
  app: AppName,
): Promise<Array<Omit<RecordedBranch, 'app' | 'statements'>>> {
  return onDatabase(sandbox, app, async (connection) => {
    const listed = await rowsOf<ListedXid>(connection, 'XA RECOVER CONVERT XID').catch(() =>
      rowsOf<ListedXid>(connection, 'XA RECOVER'),
    );
    return listed.map((one) => {
      const bytes = bytesOfXid(one);
      const length = Number(one.gtrid_length);
      return {
        gtrid: bytes.toString('latin1', 0, length),
        bqual: bytes.toString('latin1', length),
        formatId: Number(one.formatID),
      };
    });
  });
}

/** Time in milliseconds since the epoch, and the name of the database server. */
export function clockAndServer(sandbox: Sandbox): Promise<{ ms: number; server: string }> {
  return onDatabase(sandbox, 'order', async (connection) => {
    const ms = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000`;
    const [row] = await rowsOf(connection, `SELECT ${ms} AS ms, VERSION() AS server`);
    return { ms: Number(row!.ms), server: String(row!.server) };
  });
}
