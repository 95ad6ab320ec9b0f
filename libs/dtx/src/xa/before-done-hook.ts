// End of step 4, second phase: the app acts on a commit, such as a publish, before the decision is marked DONE. The
// business is committed by then, so the row of the decision is the only record that the hook must still run.
import { inTimeOf } from '../core/async/user-code-time-limit.js';
import type { Database } from '../core/database/database.service.js';
import { reschedule } from '../core/durable/claim-and-reschedule.js';
import type { Tried } from '../core/durable/durable-loop.js';
import { whileLeased } from '../core/durable/lease-renewal.js';
import { isBrokerAway, OptionsError, OutcomeUnknown, textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { XA, type XaRow } from './xa-tables.js';

/** The `xa.beforeDone` hook of the app. Gets the gid of a committed transaction. */
export type BeforeDone = (gid: string) => Promise<void>;

/** A row whose hook cannot run yet is retried after this part of its age, and at the latest after this time. */
const HOOK_RETRY_PART = 1 / 4;
const HOOK_RETRY_MS_MAX = 60_000;

/**
 * Runs the hook `xa.beforeDone` for every committed transaction before its row becomes DONE. If the process dies during
 * the hook or right after it, the row is due again when its lease expires. The hook then runs again, in any instance that
 * has the hook, so it must be idempotent. An instance without it leaves the row open.
 */
export class BeforeDoneHook {
  private hook: BeforeDone | undefined;
  /** Rows that are in progress only because of their hook. */
  private inWork = 0;

  constructor(
    private readonly database: Database,
    private readonly limits: { inWorkMax: number; leaseMs: number; absentMs: number; hookMs: number },
    private readonly alert: (row: XaRow, error: string) => Promise<void>,
  ) {}

  get isSet(): boolean {
    return this.hook !== undefined;
  }

  /** @throws OptionsError when a hook is set already */
  set(hook: BeforeDone): void {
    if (this.hook) throw new OptionsError('xa.beforeDone is set twice; combine both hooks into one');
    this.hook = hook;
  }

  /**
   * Resolves to null when the hook has run, or when the transaction has none. Otherwise to the result of the attempt.
   */
  async follow(row: XaRow): Promise<Tried | null> {
    if (row.decision !== 'COMMIT') return null;
    if (!this.hook) return row.before_done ? this.leaveToOthers(row) : null;
    const unavailable = await this.run(row, this.hook);
    if (unavailable === null) return null;
    await this.alertIfOld(row, unavailable);
    return this.postpone(row, unavailable);
  }

  /**
   * Resolves to null when the hook has run, otherwise to the reason why it cannot run now. The hook gets at most half
   * of the loop's concurrency. A dependency of the hook may hang, and branches that hold locks must not wait for that.
   */
  private async run(row: XaRow, hook: BeforeDone): Promise<string | null> {
    if (this.inWork >= this.limits.inWorkMax) return 'too many xa.beforeDone hooks are running, retrying';
    this.inWork++;
    try {
      const { hookMs: limitMs, leaseMs } = this.limits;
      await whileLeased({ sql: this.database.own, table: XA, row, leaseMs }, () =>
        inTimeOf({ what: `xa.beforeDone of ${row.gid}`, limitMs }, () => hook(row.gid)),
      );
      return null;
    } catch (error) {
      // An OutcomeUnknown of the hook itself may stay unknown for ever, so it is a failed attempt.
      const isItsOwn = error instanceof OutcomeUnknown && !isBrokerAway(error);
      if (isUnavailable(error) && !isItsOwn) return textOf(error);
      throw error;
    } finally {
      this.inWork--;
    }
  }

  /**
   * The row was decided by an instance that has the hook, and this instance has none. Another instance may run it. An
   * alert is raised when the row grows old.
   */
  private async leaveToOthers(row: XaRow): Promise<Tried> {
    const error = 'cannot run xa.beforeDone: this instance has no such hook, retrying';
    await this.alertIfOld(row, error);
    return this.postpone(row, error);
  }

  /** An unavailable dependency may never come back, so a row older than `absentMs` raises an alert. */
  private async alertIfOld(row: XaRow, error: string): Promise<void> {
    if (Number(row.age_ms ?? 0) > this.limits.absentMs) await this.alert(row, error);
  }

  /**
   * Reschedules the row without counting an attempt. All its branches are resolved, so no lock waits for it. The delay
   * grows with the age of the row. A broker outage of hours leaves a thousand such rows, which must not crowd out rows
   * that hold locks.
   */
  private async postpone(row: XaRow, error: string): Promise<Tried> {
    const longest = Math.min(Number(row.age_ms ?? 0) * HOOK_RETRY_PART, HOOK_RETRY_MS_MAX);
    const delayMs = Math.max(longest, this.limits.leaseMs);
    await reschedule(this.database.own, XA, row, { error, delayMs, attempts: row.attempts });
    return { kind: 'settled' };
  }
}
