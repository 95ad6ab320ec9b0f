/**
 * Finds the guard of the transaction that a query runner has open, so that every call that joins it sees the same one. It
 * wraps commit, rollback and query of the runner, to distinguish TypeORM's own COMMIT from one by hand. Only in memory:
 * when the process dies, the server rolls the transaction back. It reaches into internals of TypeORM.
 */
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { DtxError, TransactionEnded } from '../errors/errors.js';
import { TransactionGuard } from './guarded-transaction.js';
import { tapOf } from './intercepted-connection.js';
import { type RawConnection } from './mysql2-types.js';
import type { GuardOptions } from './transaction-guard-options.js';

/** Internal members of TypeORM. */
type Runner = QueryRunner & { transactionDepth: number; databaseConnection: RawConnection };

const guards = new WeakMap<QueryRunner, TransactionGuard>();
/** Query runners inside the callback of `dataSource.transaction`, which commits by itself afterwards. */
const inCallback = new WeakSet<QueryRunner>();

/** The open transaction of a query runner, if the library saw its begin. */
export function guardOf(runner: QueryRunner): TransactionGuard | undefined {
  return guards.get(runner);
}

export function bindGuard(runner: QueryRunner, guard: TransactionGuard): void {
  guards.set(runner, guard);
}

export function isOutermost(runner: QueryRunner): boolean {
  return (runner as Runner).transactionDepth <= 1;
}

/** Watches a transaction of the user. It sends and changes nothing until the library joins the transaction. */
export function watch(given: QueryRunner, options: Pick<GuardOptions, 'runsAgain'> = {}): TransactionGuard {
  const runner = given as Runner;
  const tap = tapOf(runner.databaseConnection);
  const allowsSeveral = runner.databaseConnection.config.multipleStatements === true;
  const guard = new TransactionGuard(tap, { ...options, allowsSeveral, isLibrarys: false, mayDefer: allowsSeveral });
  guards.set(runner, guard);
  tap.gate = guard;
  const { commitTransaction, rollbackTransaction, query } = runner;
  const during = (protocol: 'commit' | 'rollback', run: () => Promise<void>) => async () => {
    if (!isOutermost(runner) || guard.isOver) return run.call(runner);
    if (inCallback.has(runner) && guard.state === 'guarding')
      throw new TransactionEnded(`${protocol} inside dataSource.transaction, which ends the transaction itself`);
    guard.protocol = protocol;
    try {
      await run.call(runner);
    } catch (error) {
      throw unwrapped(error);
    } finally {
      guard.protocol = undefined;
      if (guard.isOver) restore();
    }
  };
  const restore = () => Object.assign(runner, { commitTransaction, rollbackTransaction, query });
  Object.assign(runner, {
    commitTransaction: during('commit', commitTransaction),
    rollbackTransaction: during('rollback', rollbackTransaction),
    query: (...args: Parameters<QueryRunner['query']>) =>
      query.apply(runner, args).catch((error) => {
        guard.evidence.rename(error);
        throw unwrapped(error);
      }),
  });
  return guard;
}

/**
 * Guards the transaction that a query runner is about to begin. Its START TRANSACTION waits for the first statement. The
 * connection must allow several statements in one packet.
 */
export function watchBegin(runner: QueryRunner, options: Pick<GuardOptions, 'runsAgain'>): TransactionGuard {
  const guard = watch(runner, options);
  guard.state = 'beginning';
  return guard;
}

/** Unwraps a DtxError. TypeORM wraps every error as a driver error. */
export function unwrapped(error: unknown): unknown {
  const driverError = (error as { driverError?: unknown } | null | undefined)?.driverError;
  return driverError instanceof DtxError ? driverError : error;
}

/** Notes that the callback runs inside `transaction`, which commits afterwards. */
export function marked<T>(work: (tx: EntityManager) => Promise<T>): (tx: EntityManager) => Promise<T> {
  return async (tx) => {
    const runner = tx.queryRunner!;
    inCallback.add(runner);
    try {
      return await work(tx);
    } finally {
      inCallback.delete(runner);
    }
  };
}

/** Marks the callbacks of `dataSource.transaction`, to distinguish a commit inside the callback from the final one. */
export function markCallbacks(source: DataSource): void {
  const { manager } = source;
  const transaction = manager.transaction.bind(manager) as (...args: unknown[]) => Promise<unknown>;
  Object.assign(manager, {
    transaction: (...args: unknown[]) =>
      transaction(
        ...args.map((arg) =>
          typeof arg === 'function' ? marked(arg as (tx: EntityManager) => Promise<unknown>) : arg,
        ),
      ),
  });
}
