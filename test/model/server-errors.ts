// The errors of a model database, in the form that the library reads.

/** The parts of an error that the library looks at. */
export class SqlError extends Error {
  constructor(readonly errno: number) {
    super(`error ${errno}`);
  }
}
export const DUPLICATE = 1062;
export const LOCK_WAIT = 1205;
export const DEADLOCK = 1213;
/** XAER_NOTA. */
export const UNKNOWN_XID = 1397;
/** A NULL in a column that has none. */
export const NOT_NULL = 1048;

/** The answer to a COMMIT was lost with its connection. */
export class ConnectionLost extends Error {
  readonly code = 'ECONNRESET';
  readonly fatal = true;
}

/** Whether a server could have raised this error, so that the code must live with it. */
export const isOfServer = (error: unknown) => error instanceof SqlError || error instanceof ConnectionLost;
