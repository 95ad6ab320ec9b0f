import { DtxError } from '../errors/errors.js';
import { errnoOf } from '../errors/sql-errors.js';
import { SqlExpression } from './sql-literals.js';

/** The current database time in milliseconds since the epoch, as SQL. */
export const NOW_MS = msOf('UTC_TIMESTAMP(3)');

/**
 * A DATETIME expression in milliseconds since the epoch, as SQL. A value read as a Date would depend on the time zone
 * of the DataSource.
 */
export function msOf(expression: string): string {
  return `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${expression}) DIV 1000`;
}

/**
 * The current database time as a value of a row.
 * @example
 *   await insertFirst(tx, 'orders', { id, placed_at: DTX_NOW });
 */
export const NOW = new SqlExpression('UTC_TIMESTAMP(3)');

/**
 * The database clock in a session of the user. A session that sets the variable `timestamp` stops its clock. The
 * expression is then NULL, which the column rejects (1048).
 */
export const NOW_IN_ANY_SESSION = new SqlExpression(
  'IF(ABS(TIMESTAMPDIFF(MINUTE, NOW(), SYSDATE())) < 10, UTC_TIMESTAMP(3), NULL)',
);

const COLUMN_CANNOT_BE_NULL = 1048;

/** Explains the error 1048 of NOW_IN_ANY_SESSION. */
export function clockStopped(error: unknown): never {
  if (errnoOf(error) !== COLUMN_CANNOT_BE_NULL) throw error;
  const message =
    'the clock of this session is stopped: the session has set the variable `timestamp`; run SET timestamp = DEFAULT';
  throw new DtxError(message, { cause: error });
}
