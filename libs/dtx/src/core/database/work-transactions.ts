import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import type { DataSource, EntityManager } from 'typeorm';
import { inTimeOf } from '../async/time-limit.js';
import { DatabaseUnavailable, isDoneInPart, Rejected, TookTooLong, textOf } from '../errors/errors.js';
import { isDatabaseAway, isDeadlock, isDuplicateKey, isOutcomeUnknown, isPassing } from '../errors/sql-errors.js';
import { BoundRunner } from './bound-runner.js';
import { breakOff, quietMsOf } from './connection-watch.js';
import { BEGUN } from './evidence.js';
import type { SqlValue } from './literal.js';
import type { Changed, Row } from './raw-connection.js';
import type { SessionPool } from './session-pool.js';
import type { Sql } from './sql.js';
import type { StrayGuard } from './stray-guard.js';
import type { Tap } from './tap.js';
import type { CommitHooks } from './transaction.js';
import type { TransactionScope } from './transaction-scope.js';

const DEADLOCK_TRIES = 4;

import type { WorkShares } from './work-shares.js';

export interface Unit<T> {
  /** What the user's code is, for errors: `@OnMessage(invoice.issued.v1) of mail.send-invoice`. */
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
  /** The consumer whose handler it is: it waits for a place of that consumer's (see `WorkShares`). */
  readonly consumer?: string;
}

/**
 * Transactions that the library begins and that run the user's code: handlers, participants, the work between a prepared message and its verdict.
 * They run on sessions of the library's, with the user's entities and subscribers: a query runner of the user's DataSource
 * on a connection of this pool. Begin and commit, each with its proof, take one round trip.
 */
export class WorkTransactions implements Sql {
  private readonly logger = new Logger('Database');
  private readonly source: DataSource;
  private readonly pool: SessionPool;
  /** Sessions whose lock wait is another one than they were pinned with. */
  private readonly otherWaits = new WeakMap<Tap['connection'], number>();

  constructor(private readonly of: Parts) {
    this.source = of.source;
    this.pool = of.pool;
  }

  /** One statement of the library's own, in no transaction. */
  query<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T> {
    return this.pool.query<T>(statement, values);
  }

  /**
   * Runs a unit, the whole of it again when it was a deadlock's victim, also when the user's code has swallowed that.
   * @throws TransactionEnded when a statement of the user's has ended the transaction; TookTooLong, with everything rolled
   *   back; DatabaseUnavailable when there is no connection, or the server refuses work for a reason that passes;
   *   TransactionRequired inside another unit, which would hold a second connection
   */
  async run<T>(unit: Unit<T>): Promise<T> {
    this.of.guard.check();
    return this.of.shares.within(unit.consumer, () => this.untilCommitted(unit));
  }

  private async untilCommitted<T>(unit: Unit<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const tap = await this.pool.acquire();
      const bound = new BoundRunner(this.source, tap);
      bound.subscribersMs = this.of.limits.limitMs;
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
  private setLockWait({ connection }: Tap, seconds = this.of.limits.lockWaitSeconds): string {
    const now = this.otherWaits.get(connection) ?? this.of.limits.lockWaitSeconds;
    if (now === seconds) return '';
    this.otherWaits.set(connection, seconds);
    return `SET SESSION innodb_lock_wait_timeout = ${Number(seconds)}; `;
  }

  private async once<T>(bound: BoundRunner, tap: Tap, { what, first, run, lockWaitSeconds }: Unit<T>): Promise<T> {
    let result: T;
    try {
      await begin(bound, tap, first, this.setLockWait(tap, lockWaitSeconds));
      result = await this.limited(what, tap, () => run(bound.manager, bound.scope));
      await commit(bound, tap);
    } catch (error) {
      await rollBack(bound, tap, error);
      throw sorted(bound, error, what);
    }
    const hooks = bound.scope.takeHooks();
    await bound.tell('AfterTransactionCommit').catch((error) => {
      this.logger.error(`a subscriber failed (the transaction is committed): ${textOf(error)}`);
    });
    await this.of.hooks.run(hooks);
    return result;
  }

  /** The user's code. While it is slow, the server is told that this process lives: it ends sessions that are silent. */
  private async limited<T>(what: string, tap: Tap, work: () => Promise<T>): Promise<T> {
    const { guard, limits } = this.of;
    const { limitMs, pingMs } = limits;
    const ping = () => quietMsOf(tap.connection) >= pingMs && tap.ping().catch(() => {});
    const pings = setInterval(ping, pingMs);
    const onLate = () => breakOff(tap.connection, limitMs);
    try {
      return await inTimeOf({ what, limitMs, onLate }, () => guard.inside(what, work));
    } finally {
      clearInterval(pings);
    }
  }
}

/**
 * What the unit has failed with. A server without writes or without a resource is not the fault of the user's code, whatever
 * that has made of the refusal. A refusal of the business is its own, and so is a COMMIT whose end is not known.
 */
function sorted({ scope }: BoundRunner, error: unknown, what: string): unknown {
  const failure = scope.failure ?? error;
  // Known to be done in part: whatever else went wrong, it must not be run again.
  if (isDoneInPart(failure)) return failure;
  const { passing } = scope.evidence;
  if (error instanceof TookTooLong) return error;
  const isItsOwn = isDeadlock(failure) || isOutcomeUnknown(failure) || failure instanceof Rejected;
  if (isItsOwn || failure instanceof DatabaseUnavailable) return failure;
  return passing === undefined ? failure : new DatabaseUnavailable(`the database refused ${what}`, passing);
}

async function begin(bound: BoundRunner, tap: Tap, first: Unit<unknown>['first'], setting: string): Promise<void> {
  await bound.tell('BeforeTransactionStart');
  const statement = `${setting}START TRANSACTION; SAVEPOINT ${BEGUN}`;
  await tap.ask(first ? `${statement}; ${first.statement}` : statement, first?.values).catch((error) => {
    if (first && isDuplicateKey(error)) throw first.ifThere();
    throw isDatabaseAway(error) || isPassing(error)
      ? new DatabaseUnavailable('cannot begin a transaction', error)
      : error;
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

interface Parts {
  readonly source: DataSource;
  readonly pool: SessionPool;
  readonly hooks: CommitHooks;
  readonly guard: StrayGuard;
  readonly shares: WorkShares;
  readonly limits: {
    /** How long the user's code may take in one unit, in milliseconds. */
    readonly limitMs: number;
    /** After so long without a statement the connection is pinged, in milliseconds. */
    readonly pingMs: number;
    /** What the sessions are pinned with, in seconds. */
    readonly lockWaitSeconds: number;
  };
}

/** A stream whose connection has ended tells nobody: the place of its unit must not wait for it. */
const SETTLE_LIMIT_MS = 10_000;

/** A connection on which a ROLLBACK was not answered ends, and with it whatever was open on it. */
async function rollBack(bound: BoundRunner, tap: Tap, cause: unknown): Promise<void> {
  // Code that goes on after its time, or does not await what it asks for, gets no further statement in.
  bound.close();
  await Promise.race([bound.settled(), sleep(SETTLE_LIMIT_MS, undefined, { ref: false })]);
  await bound.tell('BeforeTransactionRollback').catch(() => {});
  bound.end('rolled back');
  const { failure, evidence } = bound.scope;
  const isSound = ![cause, failure, evidence.passing].some(isDatabaseAway);
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
