import type { EntityManager } from 'typeorm';
import { BranchConnection, isAnswered, type Limits } from './branch-connection.js';
import type { Place } from './resource-manager.js';
import type { WorkOrder } from './work-order.js';
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

export function refuseFailed(participants: readonly Participant[]): void {
  const failed = participants.find(({ failure }) => failure !== undefined);
  // guard: xa.failed-statement
  if (failed) throw failed.failure;
}

/**
 * A branch of an XA transaction. Its connection returns to the pool only after a successful second phase on it. If the
 * process dies, the server rolls back a branch that is not prepared. A prepared one keeps its locks until recovery ends
 * it.
 */
export class XaBranch implements Participant {
  private constructor(
    readonly name: string,
    private readonly session: BranchConnection,
    private readonly xid: string,
  ) {}

  /**
   * Takes a connection. XA START and the witness travel with the first statement of the work, at the latest with XA
   * PREPARE. The server stops at the first error, so no statement of the work runs outside the branch. The witness
   * becomes visible with the commit of the branch, and its key admits no second row. It also makes every branch a
   * writer, so the rules for read-only branches never apply.
   */
  static async start(
    name: string,
    { source, pool }: Place,
    { gtrid, runsAgain, order, ...limits }: { gtrid: string; runsAgain: boolean; order: WorkOrder } & Limits,
  ): Promise<XaBranch> {
    const session = await BranchConnection.open(pool, limits);
    const branch = new XaBranch(name, session, xidSql(gtrid, name));
    const { guard } = session.enter(source, { withSavepoint: false, runsAgain, order: order.place(name) });
    await guard.defer(`XA START ${branch.xid}`, []);
    await guard.defer(WITNESS_SQL, [gtrid, name]);
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
    await this.session.sendLast(`XA END ${this.xid}`, `XA PREPARE ${this.xid}`);
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
    if (this.isUnsent) return this.session.release('rolled back');
    const isEnded = await this.answered(`XA END ${this.xid}`);
    const isRolledBack = this.session.isSound && (await this.answered(`XA ROLLBACK ${this.xid}`));
    if (isEnded !== null && isRolledBack) this.session.release('rolled back');
    else this.giveUp();
  }

  /** Whether XA START still waits for a packet. The server then knows nothing of the branch. */
  private get isUnsent(): boolean {
    return this.session.guard.held.take().some(({ sql }) => sql.startsWith('XA START'));
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
