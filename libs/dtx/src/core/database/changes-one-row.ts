import type { EntityManager } from 'typeorm';
import { DtxError, TransactionRequired } from '../errors/errors.js';
import { errnoOf } from '../errors/sql-errors.js';
import type { Changed } from './mysql2-types.js';
import { guardOf } from './query-runner-guards.js';
import type { HeldStatement } from './transaction-identity.js';

/** A change that waited has not changed exactly one row. The unit runs again, and its changes are sent at once. */
export class ChangeMissed extends DtxError {}

/**
 * Fails unless the statement before it changed one row: ~0 is the largest BIGINT. DO would hide the error, and SELECT
 * would answer with rows (MySQL manual, "Out-of-Range and Overflow Handling", "DO Statement").
 */
const CHECK_SQL = 'SET @dtx_changed_one = ~0 + (ROW_COUNT() <> 1)';
const OUT_OF_RANGE = 1690;
const CHANGES = /^\s*(\/\*[\s\S]*?\*\/\s*)*(INSERT|UPDATE|DELETE)\b/i;
/** A row that was there counts as two, or as none (MySQL manual, "mysql_affected_rows()"). */
const UPSERT = /\bON\s+DUPLICATE\s+KEY\s+UPDATE\b/i;
/** A statement that missed is sent at once for this time in milliseconds. Sold-out stock would miss at every purchase. */
const AT_ONCE_MS = 1_000;
/** Bounds the memory of statements that contain values. */
const MISSES_MAX = 1_000;

/** The statements that have missed, with the time of this machine until which they are sent at once. */
const missed = new Map<string, number>();

/**
 * Runs an INSERT, UPDATE or DELETE, and returns whether it changed exactly one row. An UPDATE counts the rows that it
 * matched.
 *
 * In a transaction that nest-dtx runs, such as that of a handler or of `inTransaction`, it saves a round trip: the
 * statement travels with the next one, or with COMMIT, and the call returns true. The server checks the rows. If they are
 * not one, the whole transaction is rolled back and its code runs again, and this call returns false. So code behind it
 * runs again as after a deadlock, also if it has thrown. Until the statement is sent, its row is not locked, so an effect
 * outside of the transaction must not rely on true. An error of a statement that waits ends the transaction, as by
 * `deferStatement`. The statement is sent at once in the second run, for a second after a miss, where `deferStatement`
 * sends at once, and in any other transaction.
 * @throws TransactionRequired outside a transaction
 * @throws DtxError for another statement, for one with RETURNING, and for an upsert, which counts a row as two
 * @throws the error of the statement, if it is sent at once
 * @example
 *   const statement = 'UPDATE stock SET available = available - ? WHERE sku = ? AND available >= ?';
 *   if (!(await changesOneRow(tx, statement, [quantity, sku, quantity]))) throw new Rejected('OUT_OF_STOCK');
 */
export async function changesOneRow(
  tx: EntityManager,
  statement: string,
  parameters: unknown[] = [],
): Promise<boolean> {
  if (!CHANGES.test(statement) || UPSERT.test(statement))
    throw new DtxError(
      `changesOneRow takes an INSERT without ON DUPLICATE KEY UPDATE, an UPDATE or a DELETE, not ${statement.trim().slice(0, 40)}`,
    );
  if (!tx?.queryRunner?.isTransactionActive) throw new TransactionRequired('changesOneRow');
  const guard = guardOf(tx.queryRunner);
  const mayWait = guard?.options.runsAgain && !hasMissed(statement);
  const change = mayWait ? guard.ofUser(statement, parameters) : undefined;
  if (guard && change) {
    await guard.hold([change, checkOf(statement)]);
    return true;
  }
  const { affectedRows } = await tx.query<Partial<Changed>>(statement, parameters);
  if (affectedRows === undefined)
    throw new DtxError('changesOneRow takes one statement without RETURNING, and sees no number of rows');
  return affectedRows === 1;
}

function checkOf(statement: string): HeldStatement {
  const explain = (error: unknown): never => {
    if (errnoOf(error) !== OUT_OF_RANGE) throw error;
    if (missed.size >= MISSES_MAX) missed.clear();
    missed.set(statement, Date.now() + AT_ONCE_MS);
    throw new ChangeMissed('a change behind which this code ran has not changed one row; the transaction runs again');
  };
  // guard: transaction.changed-one
  return { sql: CHECK_SQL, explain };
}

function hasMissed(statement: string): boolean {
  const untilMs = missed.get(statement);
  if (untilMs === undefined || Date.now() < untilMs) return untilMs !== undefined;
  missed.delete(statement);
  return false;
}
