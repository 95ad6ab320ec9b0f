import type { EntityManager } from 'typeorm';
import { DtxError } from '../errors/errors.js';
import { errnoOf, isDuplicateKey } from '../errors/sql-errors.js';
import { type Sql } from './sql-executor.js';
import { SqlExpression, type SqlValue } from './sql-literals.js';
import { sqlOf } from './transaction-sql.js';

/**
 * Inserts a row under a unique key in the transaction of the effect, so that the effect happens at most once. Returns
 * false if the key exists. While the other transaction is open, the call waits. A lock wait timeout (1205) is thrown.
 * The result is unknown, never "absent". INSERT IGNORE is not used, because it also hides invalid values.
 */
export async function insertFirst(tx: EntityManager | Sql, table: string, row: Values): Promise<boolean> {
  const { statement, values } = insertOf(table, row);
  try {
    await sqlOf(tx).query(statement, values);
    return true;
  } catch (error) {
    if (isDuplicateKey(error)) return false;
    throw error;
  }
}

/** The columns of a row. Times are written in UTC. */
export type Values = Readonly<Record<string, SqlValue>>;

/** The statement of `insertFirst`, for a caller that combines it with other statements. */
export function insertOf(table: string, row: Values): { statement: string; values: SqlValue[] } {
  const columns = Object.keys(row);
  const places = columns.map(() => '?').join(', ');
  return { statement: `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${places})`, values: Object.values(row) };
}

/** The database clock as a value of `insertFirst`. */
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

export { SqlExpression };
