import { Logger } from '@nestjs/common';
import type { DataSource, EntityManager, EntitySubscriberInterface, QueryRunner } from 'typeorm';
import { OutcomeUnknown, TransactionRequired } from '../errors.js';
import { isDeadlock } from './sql-errors.js';

type Hook = () => Promise<void>;

/**
 * What is to happen right after the caller's COMMIT, and only then. This is what makes the fast path fast: nobody
 * polls for the new row. If the process dies before the hook runs, the row is on disk and the scan finds it.
 */
export class CommitHooks implements EntitySubscriberInterface {
  private readonly logger = new Logger('Database');
  private readonly waiting = new WeakMap<QueryRunner, Hook[]>();

  /** Must be called after the DataSource was opened: opening replaces its list of subscribers. */
  attachTo(source: DataSource): void {
    if (!source.subscribers.includes(this)) source.subscribers.push(this);
  }

  afterCommit(tx: EntityManager, hook: Hook): void {
    const runner = tx.queryRunner!;
    const hooks = this.waiting.get(runner);
    if (hooks) hooks.push(hook);
    else this.waiting.set(runner, [hook]);
  }

  /**
   * TypeORM calls it for a released savepoint too; only the outermost COMMIT makes anything durable. A hook that fails
   * undoes nothing and holds up no other one.
   * @throws OutcomeUnknown what a hook has thrown of it: whoever waits for the commit is to be told that they cannot know
   */
  async afterTransactionCommit(event: { queryRunner: QueryRunner }): Promise<void> {
    if (event.queryRunner.isTransactionActive) return;
    const hooks = this.waiting.get(event.queryRunner);
    if (!hooks) return;
    this.waiting.delete(event.queryRunner);
    let unknown: OutcomeUnknown | undefined;
    for (const hook of hooks) {
      try {
        await hook();
      } catch (error) {
        if (error instanceof OutcomeUnknown) unknown ??= error;
        // Passed on, TypeORM would take it for a failed COMMIT, and a deadlock of its own would have the unit run again.
        else this.logger.error(`a hook failed after its COMMIT, which stands: ${(error as Error).message}`);
      }
    }
    if (unknown) throw unknown;
  }

  afterTransactionRollback(event: { queryRunner: QueryRunner }): void {
    if (!event.queryRunner.isTransactionActive) this.waiting.delete(event.queryRunner);
  }
}

const databaseOf = new WeakMap<DataSource, DataSource>();

/** Declares `pool` to be another pool of connections to the database of `source`: its transactions are as good. */
export function declarePool(pool: DataSource, source: DataSource): void {
  databaseOf.set(pool, source);
}

/** @throws TransactionRequired unless `tx` is the manager of an open transaction on the database of `source` */
export function requireTransaction(tx: EntityManager, source: DataSource, call: string): void {
  const owner = (tx as { dataSource?: DataSource }).dataSource ?? tx.connection;
  const isOwn = (databaseOf.get(owner) ?? owner) === source;
  if (!tx.queryRunner?.isTransactionActive || !isOwn) throw new TransactionRequired(call);
}

const DEADLOCK_TRIES = 4;

/** Runs a unit of work in a transaction, the whole of it again when the server chose it as a deadlock's victim. */
export async function inTransaction<T>(source: DataSource, work: (tx: EntityManager) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await source.transaction(work);
    } catch (error) {
      if (!isDeadlock(error) || attempt >= DEADLOCK_TRIES) throw error;
    }
  }
}
