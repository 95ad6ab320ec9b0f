// The three databases of a sandbox, read only. Big integers come back as BigInt, so that sums of money stay exact.
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import { codeOf } from '../cli/error-text.js';
import { type App, DATABASES } from '../servers/server-set.js';
import type { Sandbox } from './sandbox.js';

const CONNECT_TIMEOUT_MS = 10_000;

export interface Databases {
  /** The apps whose databases exist. */
  readonly apps: readonly App[];
  has(app: App, table: string): boolean;
  columnsOf(app: App, table: string): ReadonlySet<string>;
  tablesOf(app: App): string[];
  /** The caller names the type of the rows that its SQL selects. */
  query<Row>(app: App, sql: string, values?: readonly unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

interface OpenDatabase {
  readonly connection: Connection;
  readonly columns: Map<string, Set<string>>;
}

/** Opens the databases of a sandbox. A database that does not exist has no tables. */
export async function openDatabases({ databases }: Pick<Sandbox, 'databases'>): Promise<Databases> {
  const opened = new Map<App, OpenDatabase>();
  const close = async () => {
    for (const { connection } of opened.values()) await connection.end().catch(() => {});
  };
  try {
    for (const app of DATABASES) {
      const database = await openDatabase(databases[app]);
      if (database) opened.set(app, database);
    }
  } catch (error) {
    await close();
    throw error;
  }
  const columnsOf = (app: App, table: string) => opened.get(app)?.columns.get(table) ?? new Set<string>();
  return {
    apps: DATABASES.filter((app) => opened.has(app)),
    has: (app, table) => columnsOf(app, table).size > 0,
    columnsOf,
    tablesOf: (app) => [...(opened.get(app)?.columns.keys() ?? [])],
    query: async <Row>(app: App, sql: string, values: readonly unknown[] = []) => {
      const database = opened.get(app);
      if (!database) throw new Error(`the database of the ${app} app does not exist`);
      const [rows] = await database.connection.query<RowDataPacket[]>(sql, [...values]);
      return rows as Row[];
    },
    close,
  };
}

async function openDatabase(uri: string): Promise<OpenDatabase | null> {
  const options = { uri, timezone: 'Z', charset: 'utf8mb4', connectTimeout: CONNECT_TIMEOUT_MS, typeCast };
  const connection = await createConnection(options).catch((error: unknown) => {
    if (codeOf(error) === 'ER_BAD_DB_ERROR') return null;
    throw error;
  });
  if (!connection) return null;
  await connection.query("SET SESSION time_zone = '+00:00'");
  await connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED');
  const [rows] = await connection.query<RowDataPacket[]>(
    'SELECT table_name AS tbl, column_name AS col FROM information_schema.columns WHERE table_schema = DATABASE()',
  );
  const columns = new Map<string, Set<string>>();
  for (const { tbl, col } of rows as Array<{ tbl: string; col: string }>)
    columns.set(tbl, (columns.get(tbl) ?? new Set()).add(col));
  return { connection, columns };
}

interface Field {
  type: string;
  string(): string | null;
}

function typeCast(field: Field, next: () => unknown): unknown {
  if (field.type !== 'LONGLONG' && field.type !== 'NEWDECIMAL') return next();
  const text = field.string();
  return text !== null && /^-?\d+$/.test(text) ? BigInt(text) : text;
}
