import { inTimeOf } from '../core/async/time-limit.js';
import type { Database } from '../core/database/database.service.js';
import { reschedule } from '../core/durable/claim.js';
import { whileLeased } from '../core/durable/lease.js';
import type { Tried } from '../core/durable/loop.js';
import { isBrokerAway, OptionsError, OutcomeUnknown, textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { XA, type XaRow } from './xa-tables.js';

/** What follows a committed transaction, named by its gid. */
export type BeforeDone = (gid: string) => Promise<void>;

/** A row that waits for what follows its commit waits again for this part of its age, at most so long. */
const AGAIN_PART = 1 / 4;
const AGAIN_MS_MAX = 60_000;

/** What the app does for every committed transaction before it counts as done. */
export class AfterCommit {
  private hook: BeforeDone | undefined;
  /** Rows that are in work for nothing else. */
  private inWork = 0;

  constructor(
    private readonly database: Database,
    private readonly limits: { inWorkMax: number; leaseMs: number; absentMs: number; hookMs: number },
    private readonly tell: (row: XaRow, error: string) => Promise<void>,
  ) {}

  get isSet(): boolean {
    return this.hook !== undefined;
  }

  /** @throws OptionsError for a second one */
  set(hook: BeforeDone): void {
    if (this.hook) throw new OptionsError('xa.beforeDone was given twice');
    this.hook = hook;
  }

  /** Null once it is done, or for a transaction that nothing follows; else what becomes of the row. */
  async follow(row: XaRow): Promise<Tried | null> {
    if (row.decision !== 'COMMIT') return null;
    if (!this.hook) return row.before_done ? this.leave(row) : null;
    const away = await this.run(row, this.hook);
    if (away === null) return null;
    await this.tellIfOld(row, away);
    return this.later(row, away);
  }

  /**
   * Null once it is done, else what it needs and cannot have now. Half of the room is kept from it: what it needs may
   * hang, and branches that hold locks must not wait for that.
   */
  private async run(row: XaRow, hook: BeforeDone): Promise<string | null> {
    if (this.inWork >= this.limits.inWorkMax) return 'too many others wait for what follows their commit';
    this.inWork++;
    try {
      const { hookMs: limitMs, leaseMs } = this.limits;
      await whileLeased({ sql: this.database.own, table: XA, row, leaseMs }, () =>
        inTimeOf({ what: `xa.beforeDone of ${row.gid}`, limitMs }, () => hook(row.gid)),
      );
      return null;
    } catch (error) {
      // An outcome that the hook itself does not know may stay unknown for ever: that is a failed attempt.
      const isItsOwn = error instanceof OutcomeUnknown && !isBrokerAway(error);
      if (isUnavailable(error) && !isItsOwn) return textOf(error);
      throw error;
    } finally {
      this.inWork--;
    }
  }

  /** Decided by an instance of other code. The next one that looks may have what follows; that none has is told of. */
  private async leave(row: XaRow): Promise<Tried> {
    const error = 'what follows its commit (xa.beforeDone) is not in this instance';
    await this.tellIfOld(row, error);
    return this.later(row, error);
  }

  /** What is away may never come back, and what a hook has thrown may say so of something else. */
  private async tellIfOld(row: XaRow, error: string): Promise<void> {
    if (Number(row.age_ms ?? 0) > this.limits.absentMs) await this.tell(row, error);
  }

  /**
   * Not an attempt. All its branches are in their places, so it may wait, and the longer it has waited the longer: a
   * broker that is away for hours makes a thousand such rows, and none of them may crowd out one that holds locks.
   */
  private async later(row: XaRow, error: string): Promise<Tried> {
    const longest = Math.min(Number(row.age_ms ?? 0) * AGAIN_PART, AGAIN_MS_MAX);
    const delayMs = Math.max(longest, this.limits.leaseMs);
    await reschedule(this.database.own, XA, row, { error, delayMs, attempts: row.attempts });
    return { kind: 'settled' };
  }
}
