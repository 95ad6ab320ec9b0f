import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { inTimeOf } from '../async/time-limit.js';
import { DtxError, TransactionEnded } from '../errors/errors.js';
import { bindScope, isOutermost, unwrapped } from './scopes.js';
import type { Tap } from './tap.js';
import { type ScopeOptions, TransactionScope } from './transaction-scope.js';

/** TypeORM's own, which it shows to nobody. */
type Runner = QueryRunner & { broadcaster: { broadcast(event: string): Promise<void> } };
type Event = `${'Before' | 'After'}Transaction${'Start' | 'Commit' | 'Rollback'}`;

/**
 * A query runner of the user's DataSource that is bound to one connection of the library's, and believes itself in a
 * transaction that TypeORM has begun. The only place, beside `scopes.ts`, that reaches into TypeORM.
 */
export class BoundRunner {
  readonly runner: Runner;
  readonly scope: TransactionScope;
  /** How long the user's subscribers may take for one event, in milliseconds; 0 for as long as they like. */
  subscribersMs = 0;
  private readonly inFlight = new Set<Promise<unknown>>();
  private isOpen = false;

  /** @param race ends a wait for a statement of the user's before its answer comes */
  constructor(
    source: DataSource,
    private readonly tap: Tap,
    options: Pick<ScopeOptions, 'everyErrorEnds'> = {},
    private readonly race: <T>(statement: Promise<T>) => Promise<T> = (statement) => statement,
  ) {
    this.runner = source.createQueryRunner() as Runner;
    const { multipleStatements } = source.options as { multipleStatements?: boolean };
    this.scope = new TransactionScope(tap, {
      ...options,
      allowsSeveral: multipleStatements === true,
      isLibrarys: true,
    });
    Object.assign(this.runner, { databaseConnection: tap.connection });
    bindScope(this.runner, this.scope);
    this.keepFromEnding();
  }

  get manager(): EntityManager {
    return this.runner.manager;
  }

  /** From now on the user's code may send statements. `withSavepoint`: BEGUN was set with the begin. */
  open({ withSavepoint }: { withSavepoint: boolean }): void {
    this.scope.begun({ withSavepoint });
    this.tap.gate = this.scope;
    Object.assign(this.runner, { isTransactionActive: true, transactionDepth: 1 });
    this.isOpen = true;
  }

  /** Resolves when what the user's code has asked for is answered, also what it has not awaited. */
  async settled(): Promise<void> {
    while (this.inFlight.size > 0) await Promise.allSettled(this.inFlight);
    await this.scope.settled();
  }

  /** Whatever is asked for from now on is refused. */
  close(): void {
    this.isOpen = false;
  }

  /** The transaction is over, and the connection not the runner's any more. */
  end(state: 'committed' | 'rolled back'): void {
    this.close();
    if (!this.scope.isOver) this.scope.over(state);
    Object.assign(this.runner, { isTransactionActive: false, transactionDepth: 0, isReleased: true });
  }

  /** Tells the user's subscribers. @throws TookTooLong, and what they throw */
  tell(event: Event): Promise<void> {
    const told = () => this.runner.broadcaster.broadcast(event);
    const { subscribersMs: limitMs } = this;
    return limitMs > 0 ? inTimeOf({ what: `a subscriber's ${event}`, limitMs }, told) : told();
  }

  /** The methods that would end the transaction, lose it, or be heard of after it. */
  private keepFromEnding(): void {
    const { runner } = this;
    const { startTransaction, commitTransaction, rollbackTransaction, stream } = runner;
    const query = runner.query.bind(runner) as (...args: unknown[]) => Promise<unknown>;
    const nestedOnly = (name: string, run: () => Promise<void>) => async () => {
      if (!isOutermost(runner)) return run.call(runner);
      throw new TransactionEnded(`${name} would end it, and whoever gave the transaction does that`);
    };
    Object.assign(runner, {
      // Always a savepoint: an isolation level is for a transaction that is still to begin.
      startTransaction: () => startTransaction.call(runner),
      commitTransaction: nestedOnly('commitTransaction', commitTransaction),
      rollbackTransaction: nestedOnly('rollbackTransaction', rollbackTransaction),
      release: async () => {
        throw new TransactionEnded('release would lose it, and whoever gave the transaction does that');
      },
      query: (...args: unknown[]) => this.counted(() => query(...args)),
      stream: (...args: Parameters<QueryRunner['stream']>) => this.counted(() => stream.apply(runner, args)),
    });
  }

  /** TypeORM sends a moment later than it is asked: what is not yet sent must not come after the end. */
  private async counted<T>(statement: () => Promise<T>): Promise<T> {
    if (!this.isOpen) throw new DtxError('this transaction is over: a statement came after it');
    const running = this.race(statement())
      .catch((error) => {
        this.scope.evidence.rename(error);
        throw unwrapped(error);
      })
      .finally(() => this.inFlight.delete(running));
    this.inFlight.add(running);
    return running;
  }
}
