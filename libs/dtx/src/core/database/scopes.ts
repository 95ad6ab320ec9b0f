import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { DtxError, TransactionEnded } from '../errors/errors.js';
import { type RawConnection } from './raw-connection.js';
import { tapOf } from './tap.js';
import { TransactionScope } from './transaction-scope.js';

/** TypeORM's own, which it shows to nobody. */
type Runner = QueryRunner & { transactionDepth: number; databaseConnection: RawConnection };

const scopes = new WeakMap<QueryRunner, TransactionScope>();
/** Runners on which `dataSource.transaction` runs its callback now: it commits by itself, afterwards. */
const inCallback = new WeakSet<QueryRunner>();

/** The transaction that is open on a runner, as far as the library has seen it begin. */
export function scopeOf(runner: QueryRunner): TransactionScope | undefined {
  return scopes.get(runner);
}

export function bindScope(runner: QueryRunner, scope: TransactionScope): void {
  scopes.set(runner, scope);
}

export function isOutermost(runner: QueryRunner): boolean {
  return (runner as Runner).transactionDepth <= 1;
}

/**
 * Watches a transaction that the user has begun. Nothing is sent for it and nothing about it is changed, until the library
 * joins it.
 */
export function watch(given: QueryRunner): TransactionScope {
  const runner = given as Runner;
  const tap = tapOf(runner.databaseConnection);
  const allowsSeveral = runner.databaseConnection.config.multipleStatements === true;
  const scope = new TransactionScope(tap, { allowsSeveral, isLibrarys: false });
  scopes.set(runner, scope);
  tap.gate = scope;
  const { commitTransaction, rollbackTransaction, query } = runner;
  const during = (protocol: 'commit' | 'rollback', run: () => Promise<void>) => async () => {
    if (!isOutermost(runner) || scope.isOver) return run.call(runner);
    if (inCallback.has(runner) && scope.state === 'guarding')
      throw new TransactionEnded(`${protocol} inside dataSource.transaction, which does that itself`);
    scope.protocol = protocol;
    try {
      await run.call(runner);
    } catch (error) {
      throw unwrapped(error);
    } finally {
      scope.protocol = undefined;
      if (scope.isOver) restore();
    }
  };
  const restore = () => Object.assign(runner, { commitTransaction, rollbackTransaction, query });
  Object.assign(runner, {
    commitTransaction: during('commit', commitTransaction),
    rollbackTransaction: during('rollback', rollbackTransaction),
    query: (...args: Parameters<QueryRunner['query']>) =>
      query.apply(runner, args).catch((error) => {
        scope.evidence.rename(error);
        throw unwrapped(error);
      }),
  });
  return scope;
}

/** TypeORM takes every error for the driver's and wraps it: one of the library's own is told as what it is. */
export function unwrapped(error: unknown): unknown {
  const { driverError } = error as { driverError?: unknown };
  return driverError instanceof DtxError ? driverError : error;
}

type Work = (tx: EntityManager) => Promise<unknown>;

/** Tells a commit of the callback's own from the one that follows it. */
export function markCallbacks(source: DataSource): void {
  const { manager } = source;
  const transaction = manager.transaction.bind(manager) as (...args: unknown[]) => Promise<unknown>;
  const marked = (work: Work) => async (tx: EntityManager) => {
    const runner = tx.queryRunner!;
    inCallback.add(runner);
    try {
      return await work(tx);
    } finally {
      inCallback.delete(runner);
    }
  };
  Object.assign(manager, {
    transaction: (...args: unknown[]) =>
      transaction(...args.map((arg) => (typeof arg === 'function' ? marked(arg as Work) : arg))),
  });
}
