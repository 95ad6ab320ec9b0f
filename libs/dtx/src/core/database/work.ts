import { Logger } from '@nestjs/common';
import type { DataSource, EntityManager } from 'typeorm';
import { textOf } from '../errors.js';
import { BoundRunner } from './bound-runner.js';
import { BEGUN } from './evidence.js';
import type { SqlValue } from './literal.js';
import type { Changed, Row, Tap } from './raw-connection.js';
import type { SessionPool } from './session-pool.js';
import type { Sql } from './sql.js';
import { isConnectionLost, isDeadlock, isDuplicateKey } from './sql-errors.js';
import type { StrayGuard } from './stray.js';
import type { CommitHooks } from './transaction.js';
import type { TransactionScope } from './transaction-scope.js';

const DEADLOCK_TRIES = 4;

export interface Unit<T> {
  /** What the user's code is, for errors: `@OnMessage(order.placed.v1) of inventory.take-stock`. */
  readonly what: string;
  /** The transaction's first statement, sent with its begin. */
  readonly first?: {
    readonly statement: string;
    readonly values: readonly SqlValue[];
    /** What a duplicate key of it is thrown as. */
    readonly ifThere: () => Error;
  };
  readonly run: (tx: EntityManager, scope: TransactionScope) => Promise<T>;
  /** How long a statement waits for a row lock, in seconds; `lockWaitSeconds` of the core without it. */
  readonly lockWaitSeconds?: number | undefined;
}

/**
 * Transactions that the library begins and that run the user's code: handlers, participants, the work of a half message.
 * They run on sessions of the library's, with the user's entities and subscribers: a query runner of the user's DataSource
 * on a connection of this pool. Begin and commit, each with its proof, take one round trip.
 */
export class WorkTransactions implements Sql {
  private readonly logger = new Logger('Database');
  /** Sessions whose lock wait is another one than they were pinned with. */
  private readonly otherWaits = new WeakMap<Tap['connection'], number>();

  constructor(
    private readonly source: DataSource,
    private readonly pool: SessionPool,
    private readonly hooks: CommitHooks,
    private readonly guard: StrayGuard,
    private readonly lockWaitSeconds: number,
  ) {}

  /** One statement of the library's own, in no transaction. */
  query<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T> {
    return this.pool.query<T>(statement, values);
  }

  /**
   * Runs a unit, the whole of it again when it was a deadlock's victim, also when the user's code has swallowed that.
   * @throws TransactionEnded when a statement of the user's has ended the transaction
   */
  async run<T>(unit: Unit<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const tap = await this.pool.acquire();
      const bound = new BoundRunner(this.source, tap);
      try {
        return await this.once(bound, tap, unit);
      } catch (error) {
        if (bound.scope.state === 'committed' || !isDeadlock(error) || attempt >= DEADLOCK_TRIES) throw error;
      }
    }
  }

  end(): Promise<void> {
    return this.pool.end();
  }

  /** What brings a session to the lock wait of its next transaction; goes with its begin. */
  private setLockWait({ connection }: Tap, seconds = this.lockWaitSeconds): string {
    const now = this.otherWaits.get(connection) ?? this.lockWaitSeconds;
    if (now === seconds) return '';
    this.otherWaits.set(connection, seconds);
    return `SET SESSION innodb_lock_wait_timeout = ${Number(seconds)}; `;
  }

  private async once<T>(bound: BoundRunner, tap: Tap, { what, first, run, lockWaitSeconds }: Unit<T>): Promise<T> {
    let result: T;
    try {
      await begin(bound, tap, first, this.setLockWait(tap, lockWaitSeconds));
      result = await this.guard.inside(what, () => run(bound.manager, bound.scope));
      await commit(bound, tap);
    } catch (error) {
      await rollBack(bound, tap, error);
      throw bound.scope.failure ?? error;
    }
    const hooks = bound.scope.takeHooks();
    await bound.tell('AfterTransactionCommit').catch((error) => {
      this.logger.error(`a subscriber failed (the transaction is committed): ${textOf(error)}`);
    });
    await this.hooks.run(hooks);
    return result;
  }
}

async function begin(bound: BoundRunner, tap: Tap, first: Unit<unknown>['first'], setting: string): Promise<void> {
  await bound.tell('BeforeTransactionStart');
  const statement = `${setting}START TRANSACTION; SAVEPOINT ${BEGUN}`;
  await tap.ask(first ? `${statement}; ${first.statement}` : statement, first?.values).catch((error) => {
    throw first && isDuplicateKey(error) ? first.ifThere() : error;
  });
  bound.open({ withSavepoint: true });
  await bound.tell('AfterTransactionStart');
}

/** What the user's code has asked for without awaiting it still belongs to the transaction, and is waited for. */
async function commit(bound: BoundRunner, tap: Tap): Promise<void> {
  await bound.settled();
  await bound.tell('BeforeTransactionCommit');
  await bound.settled();
  bound.close();
  await bound.scope.commit();
  bound.end('committed');
  if (bound.scope.isAltered) tap.connection.destroy();
  else tap.release();
}

/** A connection on which a ROLLBACK was not answered ends, and with it whatever was open on it. */
async function rollBack(bound: BoundRunner, tap: Tap, cause: unknown): Promise<void> {
  await bound.settled();
  await bound.tell('BeforeTransactionRollback').catch(() => {});
  bound.end('rolled back');
  const isSound = !isConnectionLost(cause) && !isConnectionLost(bound.scope.failure);
  const isRolledBack = isSound && (await isAnswered(tap.ask('ROLLBACK')));
  if (isRolledBack && !bound.scope.isAltered) tap.release();
  else tap.connection.destroy();
  await bound.tell('AfterTransactionRollback').catch(() => {});
}

const isAnswered = (statement: Promise<unknown>) =>
  statement.then(
    () => true,
    () => false,
  );
