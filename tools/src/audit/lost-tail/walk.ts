// Reads the rows of a window in bounded chunks, in the order of ids that begin with their time (UUID v7).
import type { Databases } from '../../sandbox/database-reader.js';
import type { App } from '../../servers/server-set.js';

const CHUNK = 1_000;

export interface Tail {
  readonly databases: Databases;
  readonly sinceMs: number;
  /** Called after each chunk, for a line of progress. */
  readonly progress: (app: App, table: string, rows: number) => void;
}

/** The smallest id of a moment. */
export function idFloor(atMs: number): string {
  const hex = Math.floor(atMs).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}

interface From {
  readonly app: App;
  readonly table: string;
  /** The primary key. */
  readonly key: string;
  readonly columns: string;
  /** A condition beside the window. */
  readonly where?: string;
}

/** The rows whose key is in the window. Nothing for a table that the database does not have. */
export async function* rowsSince<Row>(tail: Tail, from: From): AsyncGenerator<Row[]> {
  const { databases, sinceMs, progress } = tail;
  const { app, table, key, columns, where = 'TRUE' } = from;
  if (!databases.has(app, table)) return;
  for (let after: string | null = idFloor(sinceMs), rows = 0; after !== null; ) {
    const sql = `SELECT ${key} AS walked, ${columns} FROM ${table} WHERE ${key} > ? AND ${where} ORDER BY ${key} LIMIT ${CHUNK}`;
    const chunk: Array<Row & { walked: string }> = await databases.query(app, sql, [after]);
    rows += chunk.length;
    progress(app, table, rows);
    if (chunk.length > 0) yield chunk;
    after = chunk.length === CHUNK ? chunk[CHUNK - 1]!.walked : null;
  }
}

/** Which of the keys a table has. */
export async function present(
  databases: Databases,
  { app, table, key, where = 'TRUE' }: Omit<From, 'columns'>,
  keys: readonly string[],
): Promise<Set<string>> {
  if (keys.length === 0 || !databases.has(app, table)) return new Set();
  const sql = `SELECT ${key} AS found FROM ${table} WHERE ${key} IN (?) AND ${where}`;
  return new Set((await databases.query<{ found: string }>(app, sql, [keys])).map(({ found }) => found));
}
