import { Logger } from '@nestjs/common';
import type { DataSource, EntityManager, EntitySubscriberInterface, QueryRunner } from 'typeorm';
import { inTimeOf } from '../async/time-limit.js';
import { OutcomeUnknown, TransactionRequired, textOf } from '../errors/errors.js';
import { isDeadlock } from '../errors/sql-errors.js';
import type { Hook } from './savepoints.js';
import { isOutermost, markCallbacks, scopeOf, watch } from './scopes.js';
import type { Sql } from './sql.js';
import type { TransactionScope } from './transaction-scope.js';

/**
 * What is to happen right after the caller's COMMIT, and only then. This is what makes the fast path fast: nobody
 * polls for the new row. If the process dies before the hook runs, the row is on disk and the scan finds it.
 */
export class CommitHooks implements EntitySubscriberInterface {
  private readonly logger = new Logger('Database');

  /** @param limitMs how long one hook is waited for */
  constructor(private readonly limitMs: number) {}

  /** Must be called after the DataSource was opened: opening replaces its list of subscribers. */
  attachTo(source: DataSource): void {
    if (source.subscribers.includes(this)) return;
    source.subscribers.push(this);
    markCallbacks(source);
  }

  /** A hook that joined after a savepoint goes with a rollback to it. @throws TransactionRequired outside a transaction */
  afterCommit(tx: EntityManager, hook: Hook): void {
    scopeIn(tx, 'a hook after the commit').depend({ afterCommit: hook });
  }

  /** Called by TypeORM, for a savepoint too. What the library has begun itself is guarded already. */
  afterTransactionStart({ queryRunner }: { queryRunner: QueryRunner }): void {
    if (isOutermost(queryRunner) && scopeOf(queryRunner)?.state !== 'guarding') watch(queryRunner);
  }

  /**
   * TypeORM calls it for a released savepoint too; only the outermost COMMIT makes anything durable. A hook that fails
   * undoes nothing and holds up no other one.
   * @throws OutcomeUnknown what a hook has thrown of it: the caller who waits for the commit must learn that nobody knows
   */
  async afterTransactionCommit(event: { queryRunner: QueryRunner }): Promise<void> {
    if (event.queryRunner.isTransactionActive) return;
    const scope = scopeOf(event.queryRunner);
    if (scope) await this.run(scope.takeHooks());
  }

  async run(hooks: readonly Hook[]): Promise<void> {
    let unknown: OutcomeUnknown | undefined;
    for (const hook of hooks) {
      try {
        await inTimeOf({ what: 'an afterCommit hook', limitMs: this.limitMs }, hook);
      } catch (error) {
        // `Unavailable` says that nothing happened, which is not true after a commit.
        if (error instanceof OutcomeUnknown) unknown ??= error;
        // Passed on, TypeORM would take it for a failed COMMIT, and a deadlock of its own would have the unit run again.
        else this.logger.error(`afterCommit hook failed (the transaction is committed): ${textOf(error)}`);
      }
    }
    if (unknown) throw unknown;
  }
}

/** @throws TransactionRequired unless `tx` is the manager of an open transaction on the database of `source` */
export function requireTransaction(tx: EntityManager, source: DataSource, call: string): void {
  const owner = (tx as { dataSource?: DataSource }).dataSource ?? tx.connection;
  if (!tx.queryRunner?.isTransactionActive || owner !== source) throw new TransactionRequired(call);
}

/**
 * The caller's transaction, from now on guarded: what the library writes in it is committed with all of it, or not at all.
 * @throws TransactionRequired as `requireTransaction`; TransactionEnded when the transaction was ended already
 */
export async function joinTransaction(tx: EntityManager, source: DataSource, call: string): Promise<TransactionScope> {
  requireTransaction(tx, source, call);
  const scope = scopeIn(tx, call);
  await scope.guard({ withSavepoint: true });
  return scope;
}

/** One that was begun before the library was there has not been seen to begin: it is watched from now on. */
function scopeIn(tx: EntityManager, call: string): TransactionScope {
  if (!tx.queryRunner?.isTransactionActive) throw new TransactionRequired(call);
  const scope = scopeOf(tx.queryRunner);
  const isOpen = scope?.state === 'watching' || scope?.state === 'guarding';
  return isOpen ? scope : watch(tx.queryRunner);
}

const DEADLOCK_TRIES = 4;

/**
 * Runs a unit of work in a transaction of the given DataSource, the whole of it again when the server chose it as a
 * deadlock's victim, also when the work has swallowed that. Statements of the work that would end the transaction are
 * refused.
 * @throws TransactionEnded when a statement of the work has ended the transaction: it is rolled back
 */
export async function inTransaction<T>(source: DataSource, work: (tx: EntityManager) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    let scope: TransactionScope | undefined;
    try {
      return await source.transaction(async (tx) => {
        scope = scopeOf(tx.queryRunner!);
        await scope?.guard({ withSavepoint: false });
        return work(tx);
      });
    } catch (error) {
      // After its COMMIT nothing is run again, whatever a subscriber has thrown.
      if (scope?.state === 'committed' || !isDeadlock(error) || attempt >= DEADLOCK_TRIES) throw error;
    }
  }
}

/** The same transaction for the library's own statements. */
export type { Sql };
