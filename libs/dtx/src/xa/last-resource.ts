import type { EntityManager } from 'typeorm';
import type { Hook } from '../core/database/hooks-by-savepoint.js';
import type { SqlStatement } from '../core/database/insert-first.js';
import { BEGUN } from '../core/database/transaction-identity.js';
import type { BoundRunner } from '../core/database/user-code-query-runner.js';
import type { Participant } from './branch.js';
import { BranchConnection, type Limits } from './branch-connection.js';
import { type LogPlace, NOWHERE } from './decision-log-trust.js';
import type { Place } from './resource-manager.js';
import type { WorkOrder } from './work-order.js';

/**
 * The last resource: a local transaction in the database of the decision log. Its commit is the decision. If the
 * process dies before that commit, the server rolls it back and recovery presumes ROLLBACK.
 */
export class LastResource implements Participant {
  private constructor(
    readonly name: string,
    private readonly session: BranchConnection,
    private readonly bound: BoundRunner,
    /** The place and time of the begin, by the clock that also judges the deadline. */
    readonly place: LogPlace,
  ) {}

  /** @param placeSql reads the place of the log, see `DecisionLog` */
  static async start(
    name: string,
    { source, pool }: Place,
    { placeSql, runsAgain, order, ...limits }: { placeSql: string; runsAgain: boolean; order: WorkOrder } & Limits,
  ): Promise<LastResource> {
    const session = await BranchConnection.open(pool, limits);
    try {
      const [, , rows] = await session.send<[unknown, unknown, LogPlace[]]>(
        `START TRANSACTION; SAVEPOINT ${BEGUN}; ${placeSql}`,
      );
      const bound = session.enter(source, { withSavepoint: true, runsAgain, order: order.place(name) });
      await bound.tell('AfterTransactionStart');
      return new LastResource(name, session, bound, rows[0] ?? NOWHERE);
    } catch (error) {
      session.destroy();
      throw error;
    }
  }

  get manager(): EntityManager {
    return this.session.manager;
  }

  get failure(): unknown {
    return this.session.failure;
  }

  leave(): Promise<void> {
    return this.session.leave();
  }

  /** Notifies the user's subscribers. Their statements are still part of the transaction. */
  async beforeCommit(): Promise<void> {
    await this.bound.tell('BeforeTransactionCommit');
  }

  /**
   * Sends together: proof that the transaction is still the one that was begun, statements of the work that wait, the
   * decision, and COMMIT. The server runs each only if the one before it succeeded. A session clock that the caller has
   * changed would falsify the deadline, so it is reset in front of the decision.
   * @throws WorkRefused for a statement of the work: nothing is decided
   */
  async commitWith(decision: SqlStatement): Promise<void> {
    const clock = this.session.guard.isAltered ? [{ statement: 'SET timestamp = DEFAULT', values: [] }] : [];
    await this.session.commitWith([...clock, decision]);
    this.session.release('committed');
  }

  /** Returns the afterCommit hooks, once. Only after the decision to commit. */
  takeHooks(): Hook[] {
    return this.session.guard.takeHooks();
  }

  async tellCommitted(): Promise<void> {
    await this.bound.tell('AfterTransactionCommit');
  }

  async rollBack(): Promise<void> {
    if (!this.session.isSound) return this.giveUp();
    // Nothing that waits may follow the end.
    this.session.guard.held.take();
    await this.session.send('ROLLBACK').then(
      () => this.session.release('rolled back'),
      () => this.giveUp(),
    );
  }

  giveUp(error?: Error): void {
    if (error) this.session.abort(error);
    this.session.destroy();
  }
}
