import type { EntityManager } from 'typeorm';
import { TransactionRequired } from '../errors/errors.js';
import { guardOf } from './query-runner-guards.js';

/**
 * Sends a statement together with the next one of the transaction, or with its COMMIT. It saves a round trip, for a
 * statement whose result is not needed. The statements keep their order. Its error is thrown by the statement that it
 * travels with, and ends the transaction even if that error is caught. Over several databases it is thrown by the call that
 * runs the transaction.
 *
 * The statement is sent at once where it cannot travel: with a comment, `;` or backslash in it, in a transaction that
 * nest-dtx has not joined, and in one of a DataSource without `extra.multipleStatements`. If the code of a handler, a
 * step or `inTransaction` throws, it is sent before the rollback, and its error counts. TypeORM neither logs a statement
 * that travels nor tells its subscribers.
 * @throws TransactionRequired outside a transaction
 * @throws the error of the statement, if it is sent at once
 * @example
 *   await deferStatement(tx, 'INSERT INTO deduction (order_id, quantity) VALUES (?, ?)', [orderId, quantity]);
 *   await tx.query('UPDATE stock SET available = available - ? WHERE sku = ?', [quantity, sku]);
 */
export async function deferStatement(tx: EntityManager, statement: string, parameters: unknown[] = []): Promise<void> {
  if (!tx?.queryRunner?.isTransactionActive) throw new TransactionRequired('deferStatement');
  const guard = guardOf(tx.queryRunner);
  const own = guard?.ofUser(statement, parameters);
  if (guard && own) await guard.hold([own]);
  else await tx.query(statement, parameters);
}
