import type { DataSource, EntityManager } from 'typeorm';
import { withTimeout } from '../core/async/with-timeout.js';
import type { TransactionGuard } from '../core/database/guarded-transaction.js';
import type { Tap } from '../core/database/intercepted-connection.js';
import type { Row } from '../core/database/mysql2-types.js';
import type { SessionPool } from '../core/database/pinned-session-pool.js';
import type { SqlValue } from '../core/database/sql-literals.js';
import { BoundRunner } from '../core/database/user-code-query-runner.js';
import { endsConnection, errnoOf, isDatabaseAway, SERVER_ERRNO_MIN } from '../core/errors/sql-errors.js';
import { XaUnavailable } from './xa-unavailable.js';

/** Waits in milliseconds: for a connection, and for the answer to one protocol statement. */
export interface Limits {
  readonly withinMs: number;
  readonly limitMs: number;
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
  enter(source: DataSource, { withSavepoint, mayDefer }: { withSavepoint: boolean; mayDefer: boolean }): BoundRunner {
    const options = { everyErrorEnds: true, mayDefer };
    this.bound = new BoundRunner(source, this.tap, options, (statement) => this.watch(statement));
    this.bound.open({ withSavepoint });
    return this.bound;
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
   * @throws XaUnavailable when the answer takes longer than `limitMs`
   */
  async sendLast(...statements: readonly string[]): Promise<void> {
    const { held } = this.guard;
    const { limitMs } = held;
    const all = [...held.take(), ...statements.map((sql) => ({ sql }))];
    await this.inTime(this.tap.askTogether(all, limitMs));
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
        if (!isAnswered(error) || endsConnection(error)) this.isSound = false;
        reject(error);
      };
      this.waits.add(end);
      statement.then((value) => over() && resolve(value), end);
      if (this.abortedBy) end(this.abortedBy);
    });
  }
}

/** Whether the server refused the statement. After any other error the statement may have been carried out. */
export function isAnswered(error: unknown): boolean {
  return errnoOf(error) >= SERVER_ERRNO_MIN && !isDatabaseAway(error);
}
