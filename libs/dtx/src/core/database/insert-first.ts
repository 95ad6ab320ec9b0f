import type { EntityManager } from 'typeorm';
import { isDuplicateKey } from './sql-errors.js';

/**
 * At most once: inserts a row under a unique key in the transaction of the effect. The first writer wins.
 * Returns false when somebody was first. While that somebody's transaction is open the call waits, and a lock wait
 * timeout (1205) is thrown: unknown, never "absent". A plain INSERT, since INSERT IGNORE would also swallow a value
 * that is too long or of the wrong type.
 */
export async function insertFirst(tx: EntityManager, table: string, row: Record<string, unknown>): Promise<boolean> {
  const columns = Object.keys(row);
  const values = columns.map((column) => (row[column] instanceof SqlExpression ? row[column].sql : '?'));
  const parameters = columns.map((column) => row[column]).filter((value) => !(value instanceof SqlExpression));
  try {
    await tx.query(`INSERT INTO ${table} (${columns.join(', ')}) VALUES (${values.join(', ')})`, parameters);
    return true;
  } catch (error) {
    if (isDuplicateKey(error)) return false;
    throw error;
  }
}

/** A value that the database computes. Never made of anything that came from outside. */
export class SqlExpression {
  constructor(readonly sql: string) {}
}

/** The database's own clock as a value of `insertFirst`. */
export const NOW = new SqlExpression('UTC_TIMESTAMP(3)');
