import type { EntityManager } from 'typeorm';
import { isDuplicateKey } from '../errors/sql-errors.js';
import type { Sql } from './sql-executor.js';
import type { SqlValue } from './sql-literals.js';
import { sqlOf } from './transaction-sql-executor.js';

/**
 * Inserts a row under a unique key in the transaction of the effect, so that the effect happens at most once. Returns
 * false if the key exists. While the other transaction is open, the call waits. A lock wait timeout (1205) is thrown.
 * The result is unknown, never "absent". INSERT IGNORE is not used, because it also hides invalid values.
 * @throws the error of the driver, unless the key exists
 * @example
 *   const isFirst = await insertFirst(tx, 'deduction', { order_id: orderId, quantity });
 */
export async function insertFirst(tx: EntityManager | Sql, table: string, row: Values): Promise<boolean> {
  const { statement, values } = insertOf(table, row);
  const sql = sqlOf(tx);
  try {
    await sql.query(statement, values);
    return true;
  } catch (error) {
    // A statement that waited in front may have met a key of its own. That has ended the transaction.
    if (isDuplicateKey(error) && sql.failure === undefined) return false;
    throw error;
  }
}

/** The columns of a row. Times are written in UTC. */
export type Values = Readonly<Record<string, SqlValue>>;

/** A library statement, or several separated by `;`, with its values. */
export interface SqlStatement {
  readonly statement: string;
  readonly values: readonly SqlValue[];
  /** The number of statements. Default 1. */
  readonly count?: number;
}

/** Several statements in one packet, for a connection that allows it. The server stops at the first one that fails. */
export function together(statements: readonly SqlStatement[]): SqlStatement {
  return {
    statement: statements.map(({ statement }) => statement).join('; '),
    values: ([] as SqlValue[]).concat(...statements.map(({ values }) => values)),
    count: statements.reduce((sum, { count = 1 }) => sum + count, 0),
  };
}

/** The first statement of a unit of work. If it meets a duplicate key, the error of `ifThere` is thrown. */
export function firstUnlessThere({ statement, values, count = 1 }: SqlStatement, ifThere: () => Error) {
  return { statement, values, count, ifThere };
}

/** The statement of `insertFirst`, for a caller that combines it with other statements. */
export function insertOf(table: string, row: Values): SqlStatement {
  const columns = Object.keys(row);
  const places = columns.map(() => '?').join(', ');
  return { statement: `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${places})`, values: Object.values(row) };
}
