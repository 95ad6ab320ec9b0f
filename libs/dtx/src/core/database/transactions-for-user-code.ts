import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { begun } from '../async/begun.js';
import { inTimeOf } from '../async/user-code-time-limit.js';
import { DatabaseUnavailable, isDoneInPart, OutcomeUnknown, Rejected, TookTooLong, textOf } from '../errors/errors.js';
import {
  endsConnection,
  isDatabaseAway,
  isDeadlock,
  isDuplicateKey,
  isOutcomeUnknown,
  isPassing,
} from '../errors/sql-errors.js';
import { libraryLogger } from '../library-logger.js';
import { ChangeMissed } from './changes-one-row.js';
import type { CommitHooks } from './commit-hooks.js';
import { breakOff, quietMsOf } from './connection-watch.js';
import type { WorkShares } from './consumer-connection-shares.js';
import { mayBeForAnAnswer } from './held-statements.js';
import type { Tap } from './intercepted-connection.js';
import type { Changed, Row } from './mysql2-types.js';
import type { SessionPool } from './pinned-session-pool.js';
import { isAnswered, type Sql } from './sql-executor.js';
import type { SqlValue } from './sql-literals.js';
import type { StrayGuard } from './stray-statement-guard.js';
import { BEGUN } from './transaction-identity.js';
import type { Unit } from './unit-of-work.js';
import { BoundRunner } from './user-code-query-runner.js';

const DEADLOCK_TRIES = 4;

/**
 * Runs the transactions that the library starts for user code: handlers, participants, the work between a prepared
 * message and its verdict. Each uses a query runner of the user DataSource on a library session, with the entities and
 * subscribers of the user. Begin and commit, each with the savepoint check, take one round trip. If the process dies,
 * the server rolls back the open transaction.
 */
export class WorkTransactions implements Sql {
  private readonly logger = libraryLogger('database');
  private readonly source: DataSource;
  private readonly pool: SessionPool;
  /** Sessions with a lock wait other than the pinned one. */
  private readonly otherWaits = new WeakMap<Tap['connection'], number>();

  constructor(private readonly of: Parts) {
    this.source = of.source;
    this.pool = of.pool;
  }

  /** Sends one library statement outside any transaction. */
  query<T = Row[] & Changed>(statement: string, values?: readonly SqlValue[]): Promise<T> {
    return this.pool.query<T>(statement, values);
  }

  /**
   * Runs a unit. After a deadlock or `ChangeMissed` the whole unit runs again, even if user code caught the error.
   * @throws TransactionEnded if a user statement ended the transaction
   * @throws TookTooLong after `handlerTimeoutMs`, with everything rolled back
   * @throws DatabaseUnavailable without a connection, or for a temporary reason of the server
   * @throws TransactionRequired inside another unit, which would hold a second connection
   */
  run<T>(unit: Unit<T>): Promise<T> {
    return begun(() => {
      this.of.guard.check();
      return unit.sharing?.run(unit, this.inPlace) ?? this.inPlace(unit);
    });
  }

  private readonly inPlace = <T>(unit: Unit<T>): Promise<T> =>
    unit.alone?.() ?? this.of.shares.within(unit.consumer, () => this.untilCommitted(unit));

  private async untilCommitted<T>(unit: Unit<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const tap = await this.pool.acquire();
      const bound = new BoundRunner(this.source, tap, { mayDefer: true, runsAgain: attempt === 1 });
      bound.subscribersMs = this.of.limits.limitMs;
      try {
        return await this.once(bound, tap, unit);
      } catch (error) {
        const { state } = bound.guard;
        if (state === 'committed' || !mustRunAgain(error, attempt, unit)) throw error;
      }
    }
  }

  end(): Promise<void> {
    return this.pool.end();
  }

  /** The statement that sets the lock wait of the next transaction, sent with its begin. */
  private setLockWait({ connection }: Tap, seconds = this.of.limits.lockWaitSeconds): string {
    const now = this.otherWaits.get(connection) ?? this.of.limits.lockWaitSeconds;
    if (now === seconds) return '';
    this.otherWaits.set(connection, seconds);
    return `SET SESSION innodb_lock_wait_timeout = ${Number(seconds)}; `;
  }

  private async once<T>(bound: BoundRunner, tap: Tap, unit: Unit<T>): Promise<T> {
    const { what, first, run, lockWaitSeconds } = unit;
    let result: T;
    try {
      const answers = await begin(bound, tap, first, this.setLockWait(tap, lockWaitSeconds));
      result = await this.limited(what, bound, () => run(bound.manager, bound.guard, answers));
      await commit(bound, tap);
    } catch (error) {
      await rollBack(bound, tap, error);
      throw sorted(bound, error, unit);
    }
    const hooks = bound.guard.takeHooks();
    await bound.tell('AfterTransactionCommit')?.catch((error) => {
      this.logger.error(`AfterTransactionCommit subscriber failed (the transaction is committed): ${textOf(error)}`);
    });
    if (hooks.length > 0) await this.of.hooks.run(hooks);
    return result;
  }

  /** Runs user code with its time limit. Pings keep the silent session alive while the code is slow. */
  private async limited<T>(what: string, bound: BoundRunner, work: () => Promise<T>): Promise<T> {
    const { tap } = bound;
    const { guard, limits } = this.of;
    const { limitMs, pingMs } = limits;
    bound.guard.held.userCodeUntilMs = performance.now() + limitMs;
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

/** A change that missed is sent at once in the second run, which shared units also have. */
function mustRunAgain(error: unknown, attempt: number, { isOnce }: Unit<unknown>): boolean {
  if (isOnce) return error instanceof ChangeMissed && attempt === 1;
  return (isDeadlock(error) || error instanceof ChangeMissed) && attempt < DEADLOCK_TRIES;
}

/**
 * Classifies the error of a unit. A server without writes or resources is not a failure of the user code, whatever
 * error that code threw. `Rejected` and a COMMIT with an unknown outcome stay as they are.
 */
function sorted({ guard }: BoundRunner, error: unknown, { what, throwsUnknown }: Unit<unknown>): unknown {
  const failure = guard.failure ?? error;
  // Work that is committed in part must never run again.
  if (isDoneInPart(failure)) return failure;
  const { passing, mayBeCommitted } = guard.evidence;
  if (throwsUnknown && mayBeCommitted && !isOutcomeUnknown(failure))
    return new OutcomeUnknown(`no answer to COMMIT of ${what}: ${textOf(failure)}`, { cause: failure });
  if (error instanceof TookTooLong) return error;
  const isItsOwn = isDeadlock(failure) || isOutcomeUnknown(failure) || failure instanceof Rejected;
  if (isItsOwn || failure instanceof DatabaseUnavailable) return failure;
  return passing === undefined ? failure : new DatabaseUnavailable(`the database refused ${what}`, passing);
}

async function begin(
  bound: BoundRunner,
  tap: Tap,
  first: Unit<unknown>['first'],
  setting: string,
): Promise<readonly unknown[]> {
  await bound.tell('BeforeTransactionStart');
  const statement = `${setting}START TRANSACTION; SAVEPOINT ${BEGUN}`;
  const answers = await tap
    .ask<unknown[]>(first ? `${statement}; ${first.statement}` : statement, first?.values)
    .catch((error) => {
      if (first?.ifThere && isDuplicateKey(error)) throw first.ifThere();
      throw isDatabaseAway(error) || isPassing(error)
        ? new DatabaseUnavailable('cannot begin a transaction', error)
        : error;
    });
  bound.open({ withSavepoint: true });
  await bound.tell('AfterTransactionStart');
  return answers;
}

/** Commits. Statements that user code did not await belong to the transaction and are waited for. */
async function commit(bound: BoundRunner, tap: Tap): Promise<void> {
  if (!bound.isSettled) await bound.settled();
  await bound.tell('BeforeTransactionCommit');
  if (!bound.isSettled) await bound.settled();
  bound.close();
  await bound.guard.commit();
  bound.end('committed');
  if (bound.guard.isAltered) tap.connection.destroy();
  else tap.release();
}

interface Parts {
  readonly source: DataSource;
  readonly pool: SessionPool;
  readonly hooks: CommitHooks;
  readonly guard: StrayGuard;
  readonly shares: WorkShares;
  readonly limits: {
    /** The time limit of user code in one unit, in milliseconds. */
    readonly limitMs: number;
    /** The silence in milliseconds before a ping. */
    readonly pingMs: number;
    /** The pinned lock wait in seconds. */
    readonly lockWaitSeconds: number;
  };
}

/** The wait in milliseconds for open statements. A stream on a closed connection never ends. */
const SETTLE_LIMIT_MS = 10_000;

/** Rolls back. If ROLLBACK gets no answer, the connection is closed, which ends its transaction. */
async function rollBack(bound: BoundRunner, tap: Tap, cause: unknown): Promise<void> {
  // User code that runs on after its time, or did not await its statements, sends nothing more.
  bound.close();
  await Promise.race([bound.settled(), sleep(SETTLE_LIMIT_MS, undefined, { ref: false })]);
  // The work may have failed because of an answer that was not checked yet. Then that failure counts.
  if (bound.isSettled && mayBeForAnAnswer(cause)) await bound.guard.sendOwnUsers().catch(() => {});
  await bound.tell('BeforeTransactionRollback')?.catch(() => {});
  bound.end('rolled back');
  const { failure, evidence } = bound.guard;
  const isSound = ![cause, failure, evidence.passing].some(endsConnection);
  const isRolledBack = isSound && (await isAnswered(tap.ask('ROLLBACK')));
  if (isRolledBack && !bound.guard.isAltered) tap.release();
  else tap.connection.destroy();
  await bound.tell('AfterTransactionRollback')?.catch(() => {});
}
