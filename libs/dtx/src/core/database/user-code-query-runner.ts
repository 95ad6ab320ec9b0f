import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { inTimeOf } from '../async/user-code-time-limit.js';
import { TransactionEnded } from '../errors/errors.js';
import { TransactionGuard } from './guarded-transaction.js';
import type { Tap } from './intercepted-connection.js';
import { bindGuard, isOutermost, unwrapped } from './query-runner-guards.js';
import { tooLate } from './refused-statements.js';
import type { GuardOptions } from './transaction-guard-options.js';

/** Internal members of TypeORM. */
interface Broadcaster {
  broadcast(event: string, ...about: unknown[]): Promise<void>;
}
type Runner = QueryRunner & { broadcaster: Broadcaster };
type Event = 'BeforeQuery' | `${'Before' | 'After'}Transaction${'Start' | 'Commit' | 'Rollback'}`;

const NOBODY = Promise.resolve();
/** The methods of subscribers. */
const METHODS: Record<Event, string> = {
  BeforeQuery: 'beforeQuery',
  BeforeTransactionStart: 'beforeTransactionStart',
  AfterTransactionStart: 'afterTransactionStart',
  BeforeTransactionCommit: 'beforeTransactionCommit',
  AfterTransactionCommit: 'afterTransactionCommit',
  BeforeTransactionRollback: 'beforeTransactionRollback',
  AfterTransactionRollback: 'afterTransactionRollback',
};

/**
 * A query runner of the user's DataSource on one connection of the library. TypeORM sees it in an open transaction. It
 * reaches into internals of TypeORM, like `query-runner-guards.ts`, `user-pool-watch.ts` and `pinned-session-pool.ts`.
 */
export class BoundRunner {
  readonly runner: Runner;
  readonly guard: TransactionGuard;
  /** Time limit of the user's subscribers for one event, in milliseconds. 0: no limit. */
  subscribersMs = 0;
  private readonly inFlight = new Set<Promise<unknown>>();
  private isOpen = false;

  /** @param race may end the wait for a statement of the user before its answer */
  constructor(
    private readonly source: DataSource,
    readonly tap: Tap,
    options: Pick<GuardOptions, 'everyErrorEnds' | 'mayDefer' | 'runsAgain' | 'order'> = {},
    private readonly race: <T>(statement: Promise<T>) => Promise<T> = (statement) => statement,
  ) {
    this.runner = source.createQueryRunner() as Runner;
    const { multipleStatements } = source.options as { multipleStatements?: boolean };
    const { everyErrorEnds, mayDefer, runsAgain, order } = options;
    const allowsSeveral = multipleStatements === true;
    // Not spread: this runs for each transaction.
    const all = { allowsSeveral, isLibrarys: true, everyErrorEnds, mayDefer, runsAgain, order };
    this.guard = new TransactionGuard(tap, all);
    Object.assign(this.runner, { databaseConnection: tap.connection });
    bindGuard(this.runner, this.guard);
    this.keepFromEnding();
  }

  get manager(): EntityManager {
    return this.runner.manager;
  }

  /** Lets user code send statements from now on. `withSavepoint`: the savepoint BEGUN was set with the begin. */
  open({ withSavepoint }: { withSavepoint: boolean }): void {
    this.guard.begun({ withSavepoint });
    this.tap.gate = this.guard;
    Object.assign(this.runner, { isTransactionActive: true, transactionDepth: 1 });
    this.isOpen = true;
  }

  /** Resolves when every statement of the user code is answered, including those that it did not await. */
  async settled(): Promise<void> {
    while (this.inFlight.size > 0) await Promise.allSettled(this.inFlight);
    await this.guard.turns.settled();
  }

  /** Rejects every further statement. */
  close(): void {
    this.isOpen = false;
    this.guard.isClosed = true;
  }

  /** Ends the transaction and detaches the connection from the runner. */
  end(state: 'committed' | 'rolled back'): void {
    this.close();
    if (!this.guard.isOver) this.guard.over(state);
    Object.assign(this.runner, { isTransactionActive: false, transactionDepth: 0, isReleased: true });
  }

  /** Whether every statement of the user code is answered. */
  get isSettled(): boolean {
    return this.inFlight.size === 0 && this.guard.turns.areOver;
  }

  /** Broadcasts an event to the user's subscribers. @throws TookTooLong, or the error of a subscriber */
  tell(event: Event): Promise<void> | undefined {
    if (!this.hasListener(event)) return undefined;
    const told = () => this.runner.broadcaster.broadcast(event);
    const { subscribersMs: limitMs } = this;
    return limitMs > 0 ? inTimeOf({ what: `a subscriber's ${event}`, limitMs }, told) : told();
  }

  /** The subscriber of the library serves transactions of the user alone. */
  private hasListener(event: Event): boolean {
    if (this.source.subscribers.length === 0) return false;
    return this.source.subscribers.some((one) => !('isLibrarys' in one) && METHODS[event] in one);
  }

  /** Replaces the methods that would end the transaction, lose it, or run after it. */
  private keepFromEnding(): void {
    const { runner } = this;
    const { startTransaction, commitTransaction, rollbackTransaction, stream } = runner;
    const query = runner.query.bind(runner) as (...args: unknown[]) => Promise<unknown>;
    const nestedOnly = (name: string, run: () => Promise<void>) => async () => {
      if (!isOutermost(runner)) return run.call(runner);
      throw new TransactionEnded(`${name} would end it; only the library ends this transaction`);
    };
    const broadcaster: Broadcaster = runner.broadcaster;
    const { broadcast } = broadcaster;
    // TypeORM waits for its subscribers at each statement, also without one.
    broadcaster.broadcast = (event: string, ...about) =>
      event !== 'BeforeQuery' || this.hasListener(event) ? broadcast.call(broadcaster, event, ...about) : NOBODY;
    Object.assign(runner, {
      // Always a savepoint. An isolation level applies only to a new transaction.
      startTransaction: () => startTransaction.call(runner),
      commitTransaction: nestedOnly('commitTransaction', commitTransaction),
      rollbackTransaction: nestedOnly('rollbackTransaction', rollbackTransaction),
      release: async () => {
        throw new TransactionEnded('release would lose it; only the library releases this connection');
      },
      query: (...args: unknown[]) => this.counted(() => query(...args)),
      stream: (...args: Parameters<QueryRunner['stream']>) => this.counted(() => stream.apply(runner, args)),
    });
  }

  /** Counts a statement in flight. TypeORM sends with a delay, and no statement may follow the end. */
  private counted<T>(statement: () => Promise<T>): Promise<T> {
    if (!this.isOpen) return tooLate();
    const running = this.race(statement()).then(
      (result) => {
        this.inFlight.delete(running);
        return result;
      },
      (error) => {
        this.inFlight.delete(running);
        this.guard.evidence.rename(error);
        throw unwrapped(error);
      },
    );
    this.inFlight.add(running);
    return running;
  }
}
