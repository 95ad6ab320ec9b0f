// Step 4 of 4 - second phase: Confirm or Cancel every branch until each has answered, in any instance, after any crash.

import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { backoffMs } from '../core/async/backoff.js';
import { Batcher } from '../core/async/batcher.js';
import { Broker } from '../core/broker/broker.service.js';
import { Database } from '../core/database/database.service.js';
import { sqlOf } from '../core/database/transaction-sql-executor.js';
import { isoTime } from '../core/durable/alerts.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import type { DurableLoop, Tried } from '../core/durable/durable-loop.js';
import type { TableRow } from '../core/durable/durable-table.js';
import type { Outcome } from '../core/durable/durable-work.js';
import { DurableLoops } from '../core/durable/loop-factory.js';
import { settleFinal } from '../core/durable/settle-or-park.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry-events.js';
import { withTraceparent } from '../core/trace-and-gid-context.js';
import { failpoints, SCHEME } from './failpoints.js';
import { leaseMsOf, TCC_OPTIONS, type TccOptions } from './options.js';
import { Calls } from './participant-calls.js';
import { type BranchResult, resultOf, secondCallOf } from './second-phase-result.js';
import { namesOf, Outcomes, TIMEOUT } from './stored-outcome.js';
import { type Branch, TCC, type TccRow, UNKNOWN } from './tcc-tables.js';
import { TracedSecondPhase } from './traced-phases.js';

/** A busy participant is called again after the delay of this attempt number. */
const BUSY_RETRY_ATTEMPT = 3;

/**
 * Applies decisions. The caller's process does so right after the decision, with a lease. If that process dies, the
 * scan of any instance continues when the lease expires. The scan also cancels transactions whose deadline passed
 * undecided.
 */
@Injectable()
export class SecondPhase implements OnModuleInit, OnModuleDestroy {
  private readonly logger = libraryLogger('tcc second phase');
  private readonly loop: DurableLoop<TccRow>;
  private readonly marks: Batcher<TccRow>;
  /** Waiting callers by row id. Each gets the names of the pending participants after the first round. */
  private readonly callers = new Map<string, (waitingFor: readonly string[]) => void>();

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly calls: Calls,
    private readonly outcomes: Outcomes,
    loops: DurableLoops,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(TCC_OPTIONS) private readonly options: TccOptions,
  ) {
    this.marks = new Batcher({ delayMs: options.markDelayMs, batchMax: options.markBatchMax }, (rows) =>
      failpoint(failpoints.marked, () => this.mark(rows)),
    );
    this.loop = loops.create<TccRow>({
      scheme: SCHEME,
      table: TCC,
      leaseMs: leaseMsOf(core, options),
      scanIntervalMs: core.scanIntervalMs,
      concurrencyMax: options.concurrencyMax,
      attemptsMax: options.attemptsMax,
      backoff: options.backoff,
      canRun: () => calls.isUp,
      run: (row) => withTraceparent(row.traceparent, () => this.run(row)),
      writeMarks: () => this.marks.drain(),
      describe: (row) => ({
        gid: row.id,
        step: `second phase (${row.decision ?? 'deadline'}) of a TCC transaction`,
      }),
      resolve: (tx, row, outcome) => resolve(tx, row, outcome),
    });
  }

  onModuleInit(): void {
    this.database.onReady(() => this.loop.start());
    this.broker.publisher.on('up', () => this.loop.wake());
  }

  async onModuleDestroy(): Promise<void> {
    await this.loop.stop();
    await this.marks.drain();
  }

  wake(): void {
    this.loop.wake();
  }

  /**
   * The fast path, right after the decision. Resolves after one round to the participants that are still pending.
   * Without room the row waits for its lease to expire.
   */
  runNow(row: TccRow & { branches: readonly Branch[] }): Promise<readonly string[]> {
    const all = namesOf(row.branches);
    if (this.loop.room <= 0) return Promise.resolve(all);
    return new Promise((resolve) => {
      const end = (waitingFor: readonly string[]) => {
        clearTimeout(timer);
        this.callers.delete(row.id);
        resolve(waitingFor);
      };
      const timer = setTimeout(end, this.options.secondPhaseWaitMs, all);
      this.callers.set(row.id, end);
      this.loop.runNow(row);
    });
  }

  /** Runs a row: undecided past its deadline, or decided and not settled. */
  @TracedSecondPhase
  private async run(row: TccRow): Promise<Tried> {
    const decided = row.decision ? row : await this.cancelOverdue(row);
    if (!decided) return { kind: 'settled' };
    return this.round(decided, row.branches ?? (await this.outcomes.openBranches(row)));
  }

  /** The same compare-and-set as the caller's. One of the two wins, and both act on the winning decision. */
  private async cancelOverdue(row: TccRow): Promise<TccRow | null> {
    const cancelled = { ...row, state: 'CANCELLING', decision: 'CANCEL', reason: TIMEOUT } as const;
    const decidedAt = new Date(this.database.nowMs());
    const { affectedRows } = await failpoint(failpoints.decided, () =>
      this.database.own.query(
        `UPDATE dtx_tcc SET state = 'CANCELLING', decision = 'CANCEL', reason = ?, decided_at = ?,
           next_attempt_at = ${inFuture(leaseMsOf(this.core, this.options))}
         WHERE id = ? AND claim_token = ? AND state = 'TRYING' AND deadline <= UTC_TIMESTAMP(3)`,
        [TIMEOUT, decidedAt, row.id, row.claim_token],
      ),
    );
    if (affectedRows === 1) return { ...cancelled, decided_at: decidedAt };
    await this.awaitDeadline(row);
    return null;
  }

  /** An operator has made an undecided row due early. Its deadline stays the time when the scan takes it. */
  private async awaitDeadline(row: TccRow): Promise<void> {
    await this.database.own.query(
      `UPDATE dtx_tcc SET next_attempt_at = deadline, claim_token = NULL
       WHERE id = ? AND claim_token = ? AND state = 'TRYING' AND deadline > UTC_TIMESTAMP(3)`,
      [row.id, row.claim_token],
    );
  }

  /** Runs one round over all branches in parallel, so a failing one does not delay the others. */
  private async round(row: TccRow, branches: readonly Branch[]): Promise<Tried> {
    let isFirst = true;
    const carried = await Promise.all(
      branches.map(async (branch) => {
        const one = await this.carryOut(row, branch);
        if (one.verdict === 'ok' && isFirst) {
          isFirst = false;
          await failpoint(failpoints.firstBranch, async () => {});
        }
        return one;
      }),
    );
    const failures = carried.filter(({ verdict }) => verdict !== 'ok');
    if (failures.length > 0) {
      const isDone = (index: number) => carried[index]!.verdict === 'ok';
      const done = branches.filter((_, index) => isDone(index));
      await this.outcomes.markDone(row, done).catch(() => {}); // unrecorded branches are called again, idempotently
      this.callers.get(row.id)?.(namesOf(branches.filter((_, index) => !isDone(index))));
      return resultOf(failures, backoffMs(this.options.backoff, BUSY_RETRY_ATTEMPT));
    }
    await failpoint(failpoints.allBranches, async () => {});
    const marked = this.marks.add(row);
    // Not awaited here. If the mark fails, the lease expires and the branches are called again, which is idempotent.
    marked.catch((error) =>
      this.logger.warn(
        `cannot mark ${row.id} settled in ${this.database.names.inDatabase('dtx_tcc')}, retrying: ${textOf(error)}`,
      ),
    );
    // A cancel is reported only once its mark is on disk, so no later look finds it unfinished.
    const reported = row.decision === 'CONFIRM' ? Promise.resolve() : marked;
    reported.then(
      () => this.callers.get(row.id)?.([]),
      () => {},
    );
    return { kind: 'settled' };
  }

  private async carryOut(row: TccRow, branch: Branch): Promise<BranchResult> {
    const call = secondCallOf(row);
    const about = `${call.phase} of ${branch.participant}`;
    const own = row.own?.get(branch.branch);
    // On a retry a participant is likely to be missing. The consumer count answers sooner than a call would time out.
    const absent = row.branches ? null : await this.absence(row, branch);
    if (absent) return { ...absent, error: `${about}: ${absent.error}` };
    try {
      const answered = own?.() ?? this.calls.call(branch, call, this.options.callTimeoutMs);
      const { verdict, reason = verdict, isBusy } = await answered;
      return { verdict: isBusy ? this.absenceVerdict(row) : verdict, error: `${about}: ${reason}`, isBusy };
    } catch (error) {
      const absent = await this.absence(row, branch);
      return {
        verdict: absent?.verdict ?? this.absenceVerdict(row),
        error: `${about}: ${textOf(error)}`,
        isBusy: !absent,
      };
    }
  }

  /** A running participant without an answer is busy. Like an absence, that counts as a failure after `absentMs`. */
  private absenceVerdict(row: TccRow): 'away' | 'failed' {
    const forMs = this.database.nowMs() - Date.parse(isoTime(row.decided_at)!);
    return forMs > this.options.absentMs ? 'failed' : 'away';
  }

  /**
   * Null if an instance of the participant runs. An absence counts as a failure once it has lasted `absentMs`.
   * Otherwise a participant that was removed for good would leave its transactions unfinished without an alert.
   */
  private async absence(row: TccRow, branch: Branch): Promise<BranchResult | null> {
    try {
      if (await this.calls.hasConsumer(branch)) return null;
    } catch (error) {
      return { verdict: isUnavailable(error) ? 'away' : 'failed', error: textOf(error) };
    }
    return { verdict: this.absenceVerdict(row), error: 'no instance of the participant runs' };
  }

  /** Marks rows settled. Needs no claim token: all their branches have answered, and the decision cannot change. */
  private async mark(rows: TccRow[]): Promise<void> {
    const names = rows.map(({ id, incarnation }) => [id, incarnation ?? UNKNOWN]);
    const sql = `(m.id, COALESCE(m.incarnation, '${UNKNOWN}')) IN (?) AND m.state IN ('CONFIRMING', 'CANCELLING')`;
    await settleFinal(this.database.own, TCC, { ids: rows.map(({ id }) => id), only: { sql, values: [names] } });
    for (const { id } of rows) measure('settled', { scheme: SCHEME, ms: this.database.ageMs(id), id });
  }
}

/** Resolves a row by hand, only in line with its decision, which is never reversed. */
async function resolve(tx: EntityManager, row: TableRow, outcome: Outcome): Promise<boolean> {
  if (outcome === 'reject' || !row.decision) return false;
  await settleFinal(sqlOf(tx), TCC, { ids: [row.id] });
  return true;
}
