import type { DataSource, EntityManager } from 'typeorm';
import { withTimeout } from '../core/async/with-timeout.js';
import type { TransactionGuard } from '../core/database/guarded-transaction.js';
import type { SqlStatement } from '../core/database/insert-first.js';
import type { Tap } from '../core/database/intercepted-connection.js';
import type { Row } from '../core/database/mysql2-types.js';
import { failedAt, rawOf } from '../core/database/packet.js';
import type { SessionPool } from '../core/database/pinned-session-pool.js';
import { unwrapped } from '../core/database/query-runner-guards.js';
import type { SqlValue } from '../core/database/sql-literals.js';
import { BoundRunner } from '../core/database/user-code-query-runner.js';
import { endsConnection, errnoOf, isDatabaseAway, SERVER_ERRNO_MIN } from '../core/errors/sql-errors.js';
import { type PlaceInOrder, WaitingFailed } from './work-order.js';
import { XaUnavailable } from './xa-unavailable.js';

/** Waits in milliseconds: for a connection, and for the answer to one protocol statement. */
export interface Limits {
  readonly withinMs: number;
  readonly limitMs: number;
}

/** The opening of a connection to the caller. */
interface Entrance {
  /** The savepoint was set with the begin. */
  readonly withSavepoint: boolean;
  /** The owner of the transaction runs its work again after `ChangeMissed`. */
  readonly runsAgain: boolean;
  readonly order: PlaceInOrder;
}

/** The server refused a statement of the work that waited, and has not read the end of the transaction behind it. */
export class WorkRefused extends Error {
  constructor(readonly reason: unknown) {
    super('a statement of the work was refused');
  }
}

/**
 * The connection of one branch, for the branch's whole life. The caller's statements pass the guard of every
 * transaction of the library. The first one that fails ends the branch: after a lock wait, servers would prepare the
 * remaining half.
 */
export class BranchConnection {
  /** Whether the connection still works. If not, only its end is certain. */
  isSound = true;
  private isEnded = false;
  private bound: BoundRunner | undefined;
  private abortedBy: Error | undefined;
  /** Ends the wait for each statement in flight. */
  private readonly waits = new Set<(error: Error) => void>();

  private constructor(
    private readonly tap: Tap,
    private readonly limitMs: number,
  ) {}

  /** @throws XaUnavailable when the pool gives no connection in time, and connection errors */
  static async open(pool: SessionPool, { withinMs, limitMs }: Limits): Promise<BranchConnection> {
    const connecting = pool.acquire();
    const tap = await withTimeout(withinMs, connecting, () => {
      // The late connection goes back to the pool.
      connecting.then(
        (late) => late.release(),
        () => {},
      );
      throw new XaUnavailable(`no connection within ${withinMs} ms`);
    });
    return new BranchConnection(tap, limitMs);
  }

  get manager(): EntityManager {
    return this.bound!.manager;
  }

  get guard(): TransactionGuard {
    return this.bound!.guard;
  }

  /** The reason why the branch cannot be committed any more. */
  get failure(): unknown {
    return this.bound?.guard.failure ?? this.bound?.guard.evidence.firstError;
  }

  /** Opens the manager to the caller, with the entities of `source`. */
  enter(source: DataSource, { withSavepoint, runsAgain, order }: Entrance): BoundRunner {
    const options = { everyErrorEnds: true, mayDefer: true, runsAgain, order };
    const bound = new BoundRunner(source, this.tap, options, (statement) => this.watch(statement));
    bound.open({ withSavepoint });
    order.connect({ held: bound.guard.held, send: () => this.watch(bound.guard.sendOwnUsers()) });
    this.bound = bound;
    return bound;
  }

  /**
   * Ends the caller's access. Waits for statements that the caller began without awaiting, since they belong to the
   * branch. Later statements are refused, so none runs on the connection after the branch has ended.
   */
  async leave(): Promise<void> {
    this.bound?.close();
    await this.watch(this.bound?.settled() ?? Promise.resolve()).catch(() => {});
  }

  /**
   * Sends protocol statements as text, since XA statements cannot be prepared. Several travel in one round trip.
   * @throws XaUnavailable when the answer takes longer than `limitMs`
   */
  async send<T = Row[]>(statement: string, values?: readonly SqlValue[]): Promise<T> {
    return this.inTime(this.tap.ask<T>(statement, values));
  }

  /**
   * Sends protocol statements in one packet, behind statements that still wait for one. The server stops at the first
   * error, so none of them runs after a failed statement.
   * @throws the error of a statement that waited, as its sender explains it
   * @throws XaUnavailable when the answer takes longer than `limitMs`
   */
  async sendLast(...statements: readonly string[]): Promise<void> {
    const { held, evidence } = this.guard;
    const { limitMs } = held;
    const waiting = held.take();
    const all = [...waiting, ...statements.map((sql) => ({ sql }))];
    await this.inTime(this.tap.askTogether(all, limitMs)).catch((error) => {
      const failed = waiting[failedAt(error) ?? waiting.length];
      throw failed && isAnswered(error) ? evidence.heldFailed(error, failed) : error;
    });
  }

  /**
   * Sends the last statements and COMMIT in one packet, behind the proof that the transaction is the one that was begun, and
   * behind statements that still wait. The server runs each only if the one before it succeeded.
   * @throws WorkRefused for a statement that waited: COMMIT was not read
   * @throws XaUnavailable when the answer takes longer than `limitMs`
   */
  async commitWith(last: readonly SqlStatement[]): Promise<void> {
    const { held, evidence } = this.guard;
    const { limitMs } = held;
    const waiting = held.take();
    const end = [...last.map(({ statement, values }) => this.tap.bound(statement, values)), { sql: 'COMMIT' }];
    await this.inTime(evidence.confirm([...waiting, ...end], { limitMs })).catch((error) => {
      // The proof is the first statement of the packet.
      const isOfWork = waiting[(failedAt(error) ?? 0) - 1] !== undefined;
      throw isOfWork && !evidence.mayBeCommitted ? new WorkRefused(error) : error;
    });
  }

  /** Ends every wait on this connection with the error. A network that drops packets would never end it. */
  abort(error: Error): void {
    this.abortedBy ??= error;
    for (const end of [...this.waits]) end(this.abortedBy);
  }

  /**
   * Returns the connection to its pool. Only with nothing open on it. A session that the caller has altered is ended
   * instead.
   */
  release(state: 'committed' | 'rolled back'): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.bound?.end(state);
    if (this.bound?.guard.isAltered) this.tap.connection.destroy();
    else this.tap.release();
  }

  /** Ends the connection. The server rolls back an unprepared branch, and recovery resolves a prepared one. */
  destroy(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.bound?.end('rolled back');
    this.abort(new XaUnavailable('the connection was given up'));
    // guard: xa.connection
    this.tap.connection.destroy();
  }

  private inTime<T>(answer: Promise<T>): Promise<T> {
    const { limitMs } = this;
    return this.watch(answer, () => this.abort(new XaUnavailable(`no answer within ${limitMs} ms`)));
  }

  /** Waits for an answer, until the connection is given up. `late` is called after `limitMs`. */
  private watch<T>(statement: Promise<T>, late?: () => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = late && setTimeout(late, this.limitMs);
      const over = () => {
        clearTimeout(timer);
        return this.waits.delete(end);
      };
      const end = (error: unknown) => {
        if (!over()) return;
        if (!isAnswered(error) || endsConnection(rawOf(error))) this.isSound = false;
        reject(error);
      };
      this.waits.add(end);
      statement.then((value) => over() && resolve(value), end);
      if (this.abortedBy) end(this.abortedBy);
    });
  }
}

/** Whether the server refused the statement, or it was not sent. After any other error it may have been carried out. */
export function isAnswered(given: unknown): boolean {
  const error = unwrapped(given);
  if (error instanceof WaitingFailed) return true;
  const known = rawOf(error);
  return errnoOf(known) >= SERVER_ERRNO_MIN && !isDatabaseAway(known);
}
