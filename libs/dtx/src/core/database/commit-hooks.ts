import type { DataSource, EntityManager, EntitySubscriberInterface, QueryRunner } from 'typeorm';
import { inTimeOf } from '../async/user-code-time-limit.js';
import { OutcomeUnknown, textOf } from '../errors/errors.js';
import { libraryLogger } from '../library-logger.js';
import type { Hook } from './hooks-by-savepoint.js';
import { guardIn } from './join-or-run-transaction.js';
import { guardOf, isOutermost, markCallbacks, watch } from './query-runner-guards.js';

/**
 * Runs hooks right after the commit of a transaction. This is the fast path, in which no component polls for the new
 * row. If the process dies before a hook runs, the row is stored and the scan finds it.
 */
export class CommitHooks implements EntitySubscriberInterface {
  /** It does nothing in the transactions that the library starts. */
  readonly isLibrarys = true;
  private readonly logger = libraryLogger('database');

  /** @param limitMs time limit of one hook */
  constructor(private readonly limitMs: number) {}

  /** Attaches the hooks after the DataSource is initialized, which replaces its list of subscribers. */
  attachTo(source: DataSource): void {
    if (source.subscribers.includes(this)) return;
    source.subscribers.push(this);
    markCallbacks(source);
  }

  /** Adds a hook. A rollback to an earlier savepoint drops it. @throws TransactionRequired outside a transaction */
  afterCommit(tx: EntityManager, hook: Hook): void {
    guardIn(tx, 'a hook after the commit').depend({ afterCommit: hook });
  }

  /** Called by TypeORM, also for a savepoint. Transactions of the library are already guarded. */
  afterTransactionStart({ queryRunner }: { queryRunner: QueryRunner }): void {
    if (isOutermost(queryRunner) && guardOf(queryRunner)?.state !== 'guarding') watch(queryRunner);
  }

  /**
   * Called by TypeORM, also for a released savepoint. Only the outermost COMMIT is durable. A failed hook undoes
   * nothing and does not stop other hooks.
   * @throws OutcomeUnknown if a hook throws it, because the waiting caller must learn that the outcome is unknown
   */
  async afterTransactionCommit(event: { queryRunner: QueryRunner }): Promise<void> {
    if (event.queryRunner.isTransactionActive) return;
    const guard = guardOf(event.queryRunner);
    if (guard) await this.run(guard.takeHooks());
  }

  async run(hooks: readonly Hook[]): Promise<void> {
    let unknown: OutcomeUnknown | undefined;
    for (const hook of hooks) {
      try {
        await inTimeOf({ what: 'an afterCommit hook', limitMs: this.limitMs }, hook);
      } catch (error) {
        // `Unavailable` would state that nothing happened, which is false after a commit.
        if (error instanceof OutcomeUnknown) unknown ??= error;
        // TypeORM would treat a rethrown error as a failed COMMIT. A deadlock error of the hook would repeat the unit.
        else this.logger.error(`afterCommit hook failed (the transaction is committed): ${textOf(error)}`);
      }
    }
    if (unknown) throw unknown;
  }
}
