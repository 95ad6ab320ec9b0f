/** The parts of mysql2 that the library uses. */
export type Done = (error: unknown, result?: unknown, fields?: unknown) => void;

/** A query of mysql2. It can be created first and sent later. */
export interface Command {
  sql: string;
  values?: unknown;
  /** Internal: the number of results before the current one, with several statements in one packet. */
  readonly _resultIndex?: number;
  onResult?: Done | undefined;
  once(event: 'error' | 'end', listener: (error: unknown) => void): unknown;
  emit(event: 'error', error: unknown): unknown;
}

export interface Prepared {
  execute(values?: unknown, done?: Done): unknown;
}

/** The connection of mysql2. */
export interface RawConnection {
  query(command: unknown, values?: unknown, done?: Done): Command;
  execute(...args: unknown[]): unknown;
  prepare(text: string | { sql: string }, done: (error: unknown, statement?: Prepared) => void): unknown;
  changeUser(...args: unknown[]): unknown;
  reset(...args: unknown[]): unknown;
  ping(done: (error: unknown) => void): unknown;
  /** The connection with promises instead of callbacks. */
  promise(...args: unknown[]): unknown;
  /** The text of a statement with its values, by the options of the connection. */
  format(statement: string, values: unknown): string;
  /** Internal: replaces named values by their places. */
  _resolveNamedPlaceholders(command: unknown): void;
  release(): void;
  destroy(): void;
  readonly config: { readonly queryFormat?: unknown; readonly multipleStatements?: boolean };
}

/** Sends a statement of the user and calls `done` with its answer. */
export interface Send {
  (done: Done): void;
  /** Undefined for a stream and for a prepared statement. */
  readonly behind?: Behind;
}

/** A statement of the user in one packet behind statements that wait. */
export interface Behind {
  /** The length of the statement with its values, in characters. */
  length(): number;
  send(statements: ReadonlyArray<{ readonly sql: string }>, done: Done): void;
}

/** Decides about the statements of the user on a connection with an open transaction. */
export interface Gate {
  /**
   * Passes, delays or rejects a statement. `done` belongs to the user, unless the gate replaces it.
   */
  pass(text: string, send: Send, done: Done): void;
  /** Called before the connection returns to its pool. Returns false to keep it. */
  mayRelease(): boolean;
}

/** The answer to a changing statement. */
export interface Changed {
  readonly affectedRows: number;
}
/** A row of a library table. The reader declares its type. */
// biome-ignore lint/suspicious/noExplicitAny: columns are what the statement asks for
export type Row = Record<string, any>;

/** The number of statements of a packet that are answered. */
export const answersOf = ({ _resultIndex = 0 }: Command): number => _resultIndex;
