import type { EntityManager } from 'typeorm';
import type { BoundRunner } from '../core/database/bound-query-runner.js';
import type { Hook } from '../core/database/savepoints.js';
import type { SqlValue } from '../core/database/sql-literals.js';
import { BEGUN } from '../core/database/transaction-identity.js';
import { isAnswered, type Limits, Session } from './branch-session.js';
import { type LogPlace, NOWHERE } from './decision-log.js';
import type { Place } from './resource-manager.js';
import { xidSql } from './xid.js';

/** One participant of an XA transaction, with the one connection that it keeps from begin to end. */
export interface Participant {
  readonly name: string;
  readonly manager: EntityManager;
  /** The first failed statement of the caller, if any. */
  readonly failure: unknown;
  /** Ends the caller's work: further statements are refused. Resolves when the running ones have been answered. */
  leave(): Promise<void>;
  rollBack(): Promise<void>;
  /** Ends the connection at once, even while a statement runs on it. */
  giveUp(error?: Error): void;
}

/**
 * A branch of an XA transaction. Its connection returns to the pool only after a successful second phase on it. If the
 * process dies, the server rolls back a branch that is not prepared. A prepared one keeps its locks until recovery ends
 * it.
 */
export class XaBranch implements Participant {
  private constructor(
    readonly name: string,
    private readonly session: Session,
    private readonly xid: string,
  ) {}

  /**
   * Begins the branch and inserts its witness. The row becomes visible with the commit of the branch, and its key
   * admits no second row. The witness also makes every branch a writer, so the rules for read-only branches never
   * apply.
   */
  static async start(
    name: string,
    { source, pool }: Place,
    { gtrid, ...limits }: { gtrid: string } & Limits,
  ): Promise<XaBranch> {
    const session = await Session.open(pool, limits);
    const branch = new XaBranch(name, session, xidSql(gtrid, name));
    try {
      await session.send(`XA START ${branch.xid}; ${WITNESS_SQL}`, [gtrid, name]);
    } catch (error) {
      await branch.rollBack();
      throw error;
    }
    session.enter(source, { withSavepoint: false });
    return branch;
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

  /**
   * Prepares the branch: it is durable and keeps its locks until COMMIT or ROLLBACK. If this throws, the branch may be
   * prepared or not.
   */
  async prepare(): Promise<void> {
    await this.session.send(`XA END ${this.xid}; XA PREPARE ${this.xid}`);
  }

  /** Commits on the connection that prepared the branch. Only there is the answer of the server proof. */
  async commit(): Promise<void> {
    await this.session.send(`XA COMMIT ${this.xid}`);
    this.session.release('committed');
  }

  /**
   * Rolls back in any state. A deadlock victim refuses XA END and accepts XA ROLLBACK. If the rollback fails, the
   * connection is ended. The server then rolls back an unprepared branch, and recovery finds a prepared one.
   */
  async rollBack(): Promise<void> {
    if (!this.session.isSound) return this.giveUp();
    const isEnded = await this.answered(`XA END ${this.xid}`);
    const isRolledBack = this.session.isSound && (await this.answered(`XA ROLLBACK ${this.xid}`));
    if (isEnded !== null && isRolledBack) this.session.release('rolled back');
    else this.giveUp();
  }

  giveUp(error?: Error): void {
    if (error) this.session.abort(error);
    this.session.destroy();
  }

  /** Resolves to true for OK, to false for a refusal by the server, to null without an answer. */
  private answered(sql: string): Promise<boolean | null> {
    return this.session.send(sql).then(
      () => true,
      (error) => (isAnswered(error) ? false : null),
    );
  }
}

const WITNESS_SQL = `INSERT INTO dtx_xa_witness (gtrid, branch, who, created_at) VALUES (?, ?, 'branch', UTC_TIMESTAMP(3))`;

/**
 * The last resource: a local transaction in the database of the decision log. Its commit is the decision. If the
 * process dies before that commit, the server rolls it back and recovery presumes ROLLBACK.
 */
export class LastResource implements Participant {
  private constructor(
    readonly name: string,
    private readonly session: Session,
    private readonly bound: BoundRunner,
    /** The place and time of the begin, by the clock that also judges the deadline. */
    readonly place: LogPlace,
  ) {}

  /** @param placeSql reads the place of the log, see `DecisionLog` */
  static async start(
    name: string,
    { source, pool }: Place,
    { placeSql, ...limits }: { placeSql: string } & Limits,
  ): Promise<LastResource> {
    const session = await Session.open(pool, limits);
    try {
      const [, , rows] = await session.send<[unknown, unknown, LogPlace[]]>(
        `START TRANSACTION; SAVEPOINT ${BEGUN}; ${placeSql}`,
      );
      const bound = session.enter(source, { withSavepoint: true });
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
   * Sends three statements together: proof that the transaction is still the one that was begun, the decision, and
   * COMMIT. The server runs each only if the one before it succeeded. A session clock that the caller has changed would
   * falsify the deadline, so it is reset first.
   */
  async commitWith(statement: string, values: readonly SqlValue[]): Promise<void> {
    const clock = this.session.guard.isAltered ? 'SET timestamp = DEFAULT; ' : '';
    await this.session.send(`${clock}RELEASE SAVEPOINT ${BEGUN}; ${statement}; COMMIT`, values);
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
