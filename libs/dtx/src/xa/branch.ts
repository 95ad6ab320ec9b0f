import type { EntityManager } from 'typeorm';
import type { BoundRunner } from '../core/database/bound-runner.js';
import { BEGUN } from '../core/database/evidence.js';
import type { SqlValue } from '../core/database/literal.js';
import type { Hook } from '../core/database/savepoints.js';
import { type LogPlace, NOWHERE } from './log.js';
import type { Place } from './resource-manager.js';
import { isAnswered, type Limits, Session } from './session.js';
import { xidSql } from './xid.js';

/** Something that takes part, on the one connection that it has from its begin to its end. */
export interface Participant {
  readonly name: string;
  readonly manager: EntityManager;
  /** The first statement of the caller that failed, if any. */
  readonly failure: unknown;
  /** The caller has ended its work: nothing more is let through. Resolves when what was has been answered. */
  leave(): Promise<void>;
  rollBack(): Promise<void>;
  /** Ends the connection, whatever was under way on it. */
  giveUp(error?: Error): void;
}

/** A branch of an XA transaction. Its connection goes back to the pool only after a second phase that has succeeded on it. */
export class XaBranch implements Participant {
  private constructor(
    readonly name: string,
    private readonly session: Session,
    private readonly xid: string,
  ) {}

  /**
   * Begins the branch with its witness: a row that becomes visible with the branch's commit and that nobody else can
   * insert before. It also makes every branch a writer, which spares the rules for branches that have only read.
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

  /** Durable, with its locks, until it is told what to do. Whether it was prepared is not known when this throws. */
  async prepare(): Promise<void> {
    await this.session.send(`XA END ${this.xid}; XA PREPARE ${this.xid}`);
  }

  /** On the connection that has prepared it, an answer can be believed. */
  async commit(): Promise<void> {
    await this.session.send(`XA COMMIT ${this.xid}`);
    this.session.release('committed');
  }

  /**
   * In whatever state it is: a deadlock's victim refuses XA END and takes XA ROLLBACK. What cannot be rolled back here
   * ends with its connection, or is found by the recovery if it is prepared.
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

  /** True for OK, false for a refusal, null when there was no answer. */
  private answered(sql: string): Promise<boolean | null> {
    return this.session.send(sql).then(
      () => true,
      (error) => (isAnswered(error) ? false : null),
    );
  }
}

const WITNESS_SQL = `INSERT INTO dtx_xa_witness (gtrid, branch, who, created_at) VALUES (?, ?, 'branch', UTC_TIMESTAMP(3))`;

/** The last resource: an ordinary local transaction in the database of the decision log, whose commit is the decision. */
export class LastResource implements Participant {
  private constructor(
    readonly name: string,
    private readonly session: Session,
    private readonly bound: BoundRunner,
    /** Where it began, and when: by the clock that also decides whether the deadline has passed. */
    readonly place: LogPlace,
  ) {}

  /** @param placeSql reads where it has begun, see `DecisionLog` */
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

  /** Tells the user's subscribers, whose statements are still part of it. */
  async beforeCommit(): Promise<void> {
    await this.bound.tell('BeforeTransactionCommit');
  }

  /**
   * Sends the proof that this is the transaction that was begun, the decision and the COMMIT together: none is looked at
   * unless the one before it succeeds. A session whose clock the caller has stopped would tell the deadline by that.
   */
  async commitWith(statement: string, values: readonly SqlValue[]): Promise<void> {
    const clock = this.session.scope.isAltered ? 'SET timestamp = DEFAULT; ' : '';
    await this.session.send(`${clock}RELEASE SAVEPOINT ${BEGUN}; ${statement}; COMMIT`, values);
    this.session.release('committed');
  }

  /** The decision to commit stands: what was to follow the commit, once. */
  takeHooks(): Hook[] {
    return this.session.scope.takeHooks();
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
