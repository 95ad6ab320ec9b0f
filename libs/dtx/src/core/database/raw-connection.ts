export type Done = (error: unknown, result?: unknown, fields?: unknown) => void;

/** A query as the driver queues it: it may be made first and sent later. */
export interface Command {
  readonly sql: string;
  onResult?: Done | undefined;
  once(event: 'error' | 'end', listener: (error: unknown) => void): unknown;
  emit(event: 'error', error: unknown): unknown;
}

export interface Prepared {
  execute(values?: unknown, done?: Done): unknown;
}

/** mysql2's connection, as far as the library uses it. */
export interface RawConnection {
  query(command: unknown, values?: unknown, done?: Done): Command;
  execute(...args: unknown[]): unknown;
  prepare(text: string | { sql: string }, done: (error: unknown, statement?: Prepared) => void): unknown;
  changeUser(...args: unknown[]): unknown;
  reset(...args: unknown[]): unknown;
  ping(done: (error: unknown) => void): unknown;
  release(): void;
  destroy(): void;
  readonly config: { readonly queryFormat?: unknown; readonly multipleStatements?: boolean };
}

/** Decides on what the user sends over a connection while a transaction is open on it. */
export interface Gate {
  /** `send` sends the statement and gives its answer to `done`, which is the user's unless the gate has put itself before it. */
  pass(text: string, send: (done: Done) => void, done: Done): void;
  /** Before the connection goes back to its pool. False keeps it from going there. */
  mayRelease(): boolean;
}

/** What a changing statement answers. */
export interface Changed {
  readonly affectedRows: number;
}
/** A row of a table of the library's own: who reads it names its type. */
// biome-ignore lint/suspicious/noExplicitAny: columns are what the statement asks for
export type Row = Record<string, any>;
