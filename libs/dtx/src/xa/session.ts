import type { DataSource, EntityManager } from 'typeorm';
import { BoundRunner } from '../core/database/bound-runner.js';
import type { SqlValue } from '../core/database/literal.js';
import type { Row } from '../core/database/raw-connection.js';
import type { SessionPool } from '../core/database/session-pool.js';
import type { Tap } from '../core/database/tap.js';
import type { TransactionScope } from '../core/database/transaction-scope.js';
import { errnoOf, isDatabaseAway, SERVER_ERRNO_MIN } from '../core/errors/sql-errors.js';
import { XaUnavailable } from './errors.js';

/** How long to wait for a connection, and for the answer to one statement of the protocol; in milliseconds. */
export interface Limits {
  readonly withinMs: number;
  readonly limitMs: number;
}

/**
 * One connection on which one branch lives and dies. The caller's statements go through the guard of every transaction of
 * the library's, and the first that fails is the end of the branch: after a lock wait the servers would gladly prepare the
 * half that is left.
 */
export class Session {
  /** Whether the connection still does what it is told; if not, only its end is certain. */
  isSound = true;
  private isEnded = false;
  private bound: BoundRunner | undefined;
  private abortWith: (error: Error) => void = () => {};
  private readonly aborted: Promise<never>;

  private constructor(
    private readonly tap: Tap,
    private readonly limitMs: number,
  ) {
    this.aborted = new Promise<never>((_, reject) => {
      this.abortWith = reject;
    });
    this.aborted.catch(() => {}); // heard by whoever waits for a statement
  }

  /** @throws XaUnavailable when the pool has not given a connection in time, and what connecting throws */
  static async open(pool: SessionPool, { withinMs, limitMs }: Limits): Promise<Session> {
    const connecting = pool.acquire();
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, withinMs, null);
    });
    const tap = await Promise.race([connecting, limit]).finally(() => clearTimeout(timer));
    if (tap) return new Session(tap, limitMs);
    // Whoever waits for it next is to have it.
    connecting.then(
      (late) => late.release(),
      () => {},
    );
    throw new XaUnavailable(`no connection within ${withinMs} ms`);
  }

  get manager(): EntityManager {
    return this.bound!.manager;
  }

  get scope(): TransactionScope {
    return this.bound!.scope;
  }

  /** Why the branch cannot be committed any more. */
  get failure(): unknown {
    return this.bound?.scope.failure ?? this.bound?.scope.evidence.firstError;
  }

  /** From now on the caller may use the manager, with the entities of `source`. */
  enter(source: DataSource, { withSavepoint }: { withSavepoint: boolean }): BoundRunner {
    this.bound = new BoundRunner(source, this.tap, { everyErrorEnds: true }, (statement) => this.watch(statement));
    this.bound.open({ withSavepoint });
    return this.bound;
  }

  /**
   * The caller is out. What it has begun without awaiting it still belongs to the branch, and is waited for. Whatever
   * comes from now on is refused, instead of meeting a connection without the branch.
   */
  async leave(): Promise<void> {
    this.bound?.close();
    await this.watch(this.bound?.settled() ?? Promise.resolve()).catch(() => {});
  }

  /** A statement of the protocol's own, as text: XA statements cannot be prepared ones. Several go in one round trip. */
  async send<T = Row[]>(statement: string, values?: readonly SqlValue[]): Promise<T> {
    const limit = setTimeout(() => this.abort(new XaUnavailable(`no answer within ${this.limitMs} ms`)), this.limitMs);
    return this.watch(this.tap.ask<T>(statement, values)).finally(() => clearTimeout(limit));
  }

  /** Ends every wait on this connection with the error: a network that swallows bytes never would. */
  abort(error: Error): void {
    this.abortWith(error);
  }

  /** Back to its pool. Only for a connection on which nothing is left open; one that the caller has changed ends. */
  release(state: 'committed' | 'rolled back'): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.bound?.end(state);
    if (this.bound?.scope.isAltered) this.tap.connection.destroy();
    else this.tap.release();
  }

  /** Ends the connection. What was not prepared is rolled back by the server, what was is left to the recovery. */
  destroy(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.bound?.end('rolled back');
    this.abort(new XaUnavailable('the connection was given up'));
    // guard: xa.connection
    this.tap.connection.destroy();
  }

  private async watch<T>(statement: Promise<T>): Promise<T> {
    try {
      return await Promise.race([statement, this.aborted]);
    } catch (error) {
      if (!isAnswered(error)) this.isSound = false;
      throw error;
    }
  }
}

/** Whether the server has said no. Anything else leaves open whether the statement was carried out. */
export function isAnswered(error: unknown): boolean {
  return errnoOf(error) >= SERVER_ERRNO_MIN && !isDatabaseAway(error);
}
