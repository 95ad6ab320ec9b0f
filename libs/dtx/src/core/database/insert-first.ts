import type { EntityManager } from 'typeorm';
import { DtxError } from '../errors/errors.js';
import { errnoOf, isDuplicateKey } from '../errors/sql-errors.js';
import { SqlExpression, type SqlValue } from './literal.js';
import { type Sql } from './sql.js';
import { sqlOf } from './sql-of.js';

/**
 * At most once: inserts a row under a unique key in the transaction of the effect. The first writer wins.
 * Returns false when another was first. While that other transaction is open the call waits, and a lock wait
 * timeout (1205) is thrown: unknown, never "absent". A plain INSERT, since INSERT IGNORE would also swallow a value
 * that is too long or of the wrong type.
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

/** A row by its columns. Times are written in UTC. */
export type Values = Readonly<Record<string, SqlValue>>;

/** The statement of `insertFirst`, for who sends it with others. */
export function insertOf(table: string, row: Values): { statement: string; values: SqlValue[] } {
  const columns = Object.keys(row);
  const places = columns.map(() => '?').join(', ');
  return { statement: `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${places})`, values: Object.values(row) };
}

/** The database's own clock as a value of `insertFirst`. */
export const NOW = new SqlExpression('UTC_TIMESTAMP(3)');

/**
 * The same in a session of the user's. One that has set the variable `timestamp` stops the clock of its statements: then
 * this is NULL, which no such column takes (1048), instead of a time at which nobody would look for the row.
 */
export const NOW_IN_ANY_SESSION = new SqlExpression(
  'IF(ABS(TIMESTAMPDIFF(MINUTE, NOW(), SYSDATE())) < 10, UTC_TIMESTAMP(3), NULL)',
);

const COLUMN_CANNOT_BE_NULL = 1048;

/** Says what NOW_IN_ANY_SESSION has found, in words. */
export function clockStopped(error: unknown): never {
  if (errnoOf(error) !== COLUMN_CANNOT_BE_NULL) throw error;
  const message = 'this session has set the variable `timestamp`, which stops its clock: SET timestamp = DEFAULT';
  throw new DtxError(message, { cause: error });
}

export { SqlExpression };
