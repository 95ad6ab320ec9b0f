// Step 4 of 5 - second phase: the decision is applied to every branch until all are resolved, in any instance.

import { Inject, Injectable } from '@nestjs/common';
import { backoffMs } from '../core/async/backoff.js';
import { Batcher } from '../core/async/batcher.js';
import { Database } from '../core/database/database.service.js';
import { type Sql } from '../core/database/sql-executor.js';
import { sqlOf } from '../core/database/transaction-sql-executor.js';
import { Alerts } from '../core/durable/alerts.js';
import { reschedule } from '../core/durable/claim-and-reschedule.js';
import type { DurableLoop, Tried } from '../core/durable/durable-loop.js';
import type { TableRow } from '../core/durable/durable-table.js';
import type { Outcome } from '../core/durable/durable-work.js';
import { DurableLoops } from '../core/durable/loop-factory.js';
import { settleFinal } from '../core/durable/settle-or-park.js';
import { textOf } from '../core/errors/errors.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry-events.js';
import { type BranchResult, CarryOut, remedyFor } from './apply-decision-to-branch.js';
import { type BeforeDone, BeforeDoneHook } from './before-done-hook.js';
import type { XaBranch } from './branch.js';
import { Decisions } from './decision-log-entries.js';
import { DecisionLog } from './decision-log-trust.js';
import { failpoints, SCHEME } from './failpoints.js';
import { heldForMs, leaseMsOf, XA_OPTIONS, type XaOptions } from './options.js';
import { TracedRound } from './traced-phases.js';
import { isLogFault, XA, type XaRow } from './xa-tables.js';
import { parseGtrid } from './xid.js';

/** The next attempt on a branch that a session holds comes after this part of its transaction's age. */
const HELD_RETRY_PART = 1 / 4;

/**
 * Applies decisions. The caller's process does so right after the decision, on the connections that prepared the
 * branches. If that process dies, the scan of any instance continues when the lease expires, from other sessions. It
 * then trusts only the witnesses.
 */
@Injectable()
export class SecondPhase {
  private readonly logger = libraryLogger('xa second phase');
  private readonly loop: DurableLoop<XaRow>;
  private readonly marks: Batcher<XaRow>;
  private readonly afterCommit: BeforeDoneHook;
  /** Branches and waiting caller of this process's own transactions, by row id. */
  private readonly own = new Map<string, { branches: ReadonlyMap<string, XaBranch>; release: () => void }>();

  constructor(
    private readonly database: Database,
    private readonly log: DecisionLog,
    private readonly carryOut: CarryOut,
    private readonly decisions: Decisions,
    private readonly alerts: Alerts,
    loops: DurableLoops,
    @Inject(CORE_OPTIONS) core: CoreOptions,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {
    this.marks = new Batcher({ delayMs: options.markDelayMs, batchMax: options.markBatchMax }, (rows) =>
      this.mark(rows),
    );
    const leaseMs = leaseMsOf(core, options);
    const { absentMs, handlerTimeoutMs: hookMs } = core;
    const limits = { inWorkMax: options.concurrencyMax, leaseMs, absentMs, hookMs };
    this.afterCommit = new BeforeDoneHook(database, limits, (row, error) => this.alert(row, error));
    this.loop = loops.create<XaRow>({
      scheme: SCHEME,
      table: XA,
      leaseMs,
      scanIntervalMs: core.scanIntervalMs,
      // Room for every transaction of this process, and for as many that other processes left behind.
      concurrencyMax: 2 * options.concurrencyMax,
      attemptsMax: options.attemptsMax,
      backoff: options.backoff,
      // A copied log must not apply the decisions of its original.
      canRun: () => log.id !== '',
      run: (row) => this.run(row),
      writeMarks: () => this.marks.drain(),
      describe: (row) => ({ gid: row.gid, step: stepOf(row) }),
      resolve: (tx, row, outcome) => this.resolve(sqlOf(tx), row, outcome),
    });
  }

  /** Resolves a row by hand, only in line with its decision. A fault of the log has resolutions of its own. */
  private async resolve(sql: Sql, row: TableRow, outcome: Outcome): Promise<boolean> {
    if (isLogFault(row.id) ? !(await this.log.settle(sql, row.id, outcome)) : outcome === 'reject') return false;
    await settleFinal(sql, XA, { ids: [row.id] });
    return true;
  }

  /** @throws OptionsError when a hook is set already */
  setBeforeDone(hook: BeforeDone): void {
    this.afterCommit.set(hook);
  }

  get hasBeforeDone(): boolean {
    return this.afterCommit.isSet;
  }

  start(): void {
    this.loop.start();
  }

  async stop(): Promise<void> {
    await this.loop.stop();
    await this.marks.drain();
  }

  wake(): void {
    this.loop.wake();
  }

  /**
   * The fast path, right after the decision. Resolves after the first round, or after `secondPhaseWaitMs`. The outcome
   * is final before that.
   */
  async runNow(row: XaRow, branches: readonly XaBranch[]): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.options.secondPhaseWaitMs);
      const release = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.loop.room <= 0) return void this.commitOnly(branches).then(release);
      this.own.set(row.id, { branches: new Map(branches.map((branch) => [branch.name, branch])), release });
      this.loop.runNow(row);
    });
  }

  /**
   * Without room the branches are still committed, which frees their locks. The scan finishes the row when its lease
   * expires.
   */
  private async commitOnly(branches: readonly XaBranch[]): Promise<void> {
    await Promise.all(branches.map((branch) => this.carryOut.isCommitted(branch)));
  }

  /** Runs a row that this process has just decided for an orphan. Without room it waits for its lease to expire. */
  adopt(row: XaRow): void {
    if (this.loop.room > 0) this.loop.runNow(row);
  }

  private async run(row: XaRow): Promise<Tried> {
    // An operator asked for another check of the log. The next scan that finds the fault parks it again.
    if (isLogFault(row.id)) return { kind: 'fatal', error: row.last_error ?? 'the decision log cannot be trusted' };
    // A row that was copied with its log. The copy has an id of its own now, and the branches belong to the original.
    const logId = parseGtrid(row.gtrid)?.logId ?? this.log.id;
    if (this.log.id !== '' && logId !== this.log.id)
      return { kind: 'fatal', error: `the row belongs to another decision log: ${logId}` };
    const own = this.own.get(row.id);
    this.own.delete(row.id);
    try {
      const open = await this.round(row, own?.branches ?? new Map());
      if (open) return open;
    } finally {
      // The caller does not wait for the rest.
      own?.release();
    }
    return this.finish(row);
  }

  /**
   * Runs one round over all branches in parallel, so an unavailable one does not delay the others. Resolves to null
   * when all are resolved.
   */
  @TracedRound
  private async round(row: XaRow, own: ReadonlyMap<string, XaBranch>): Promise<Tried | null> {
    if (row.decision === null) return { kind: 'fatal', error: 'the decision is lost; end the branches by hand' };
    let isFirst = true;
    const carried = await Promise.all(
      row.branches.split(',').map(async (name) => {
        const one = await this.carryOut.one(row, name, own.get(name));
        if (one.settled === 'done' && row.decision === 'COMMIT' && isFirst) {
          isFirst = false;
          await failpoint(failpoints.firstBranch, async () => {});
        }
        return one;
      }),
    );
    const open = carried.filter(({ settled }) => settled !== 'done');
    if (open.length > 0) return this.resultOf(row, open);
    await failpoint(row.decision === 'COMMIT' ? failpoints.allBranches : failpoints.claimed, async () => {});
    return null;
  }

  /**
   * A heuristic branch needs an operator. The row is parked once nothing is left to do for the other branches. An
   * unknown name does not count as an attempt, since another instance may have that database.
   */
  private async resultOf(row: XaRow, open: readonly BranchResult[]): Promise<Tried> {
    const error = open.map(({ about }) => about).join('; ');
    const has = (state: BranchResult['settled']) => open.some(({ settled }) => settled === state);
    if (open.every(({ settled }) => settled === 'heuristic')) return { kind: 'fatal', error };
    const isUnknownForLong = has('unknown') && Number(row.age_ms ?? 0) > this.options.unknownBranchMs;
    if (has('heuristic') || isUnknownForLong) await this.alert(row, error);
    if (!has('held') && !has('unlisted')) return { kind: 'unreachable' };
    return this.isStillHeld(row) ? this.waitForSession(row, error) : { kind: 'failed', error: error + remedyFor(open) };
  }

  /** A live session may hold the branch, or the server is about to end it for idleness. That wait is not an attempt. */
  private isStillHeld(row: XaRow): boolean {
    return Number(row.age_ms ?? 0) < heldForMs(this.options);
  }

  private async waitForSession(row: XaRow, error: string): Promise<Tried> {
    const { firstMs, capMs } = this.options.backoff;
    const plainMs = Math.min(Math.max(Number(row.age_ms ?? 0) * HELD_RETRY_PART, firstMs), capMs);
    const delayMs = backoffMs({ firstMs: plainMs, factor: 1, capMs }, 1);
    await reschedule(this.database.own, XA, row, { error, delayMs, attempts: row.attempts });
    return { kind: 'settled' };
  }

  /** Raises one alert while the row stays in work. */
  private async alert(row: XaRow, error: string): Promise<void> {
    const incident = { scheme: SCHEME, id: row.id, gid: row.gid, step: stepOf(row), lastError: error };
    await this.alerts.tell(incident, 'OPEN', async (sql) => {
      // If the lease expired, another instance may have settled the row, and has closed its alert.
      const open = `SELECT id FROM dtx_xa WHERE id = ? AND state IN ('COMMITTING', 'ROLLING_BACK') FOR UPDATE`;
      const rows: unknown[] = await sql.query(open, [row.id]);
      if (rows.length === 0) return false;
      await sql.query('UPDATE dtx_xa SET last_error = ? WHERE id = ?', [error.slice(0, 1_000), row.id]);
      return true;
    });
  }

  /** The hook runs before the mark. If it fails or the process dies, the row is due again. */
  private async finish(row: XaRow): Promise<Tried> {
    const postponed = await this.afterCommit.follow(row);
    if (postponed) return postponed;
    // Not awaited. If the mark fails, the lease expires and the next round checks the witnesses again.
    this.marks.add(row).catch((error) => {
      const table = this.database.names.inDatabase('dtx_xa');
      this.logger.warn(`cannot mark ${row.id} DONE in ${table}, retrying: ${textOf(error)}`);
    });
    return { kind: 'settled' };
  }

  private async mark(rows: readonly XaRow[]): Promise<void> {
    await failpoint(failpoints.marked, () => this.decisions.markDone(rows.map(({ id }) => id)));
    for (const { id } of rows) measure('settled', { scheme: SCHEME, ms: this.database.ageMs(id), id });
  }
}

function stepOf({ decision }: XaRow): string {
  return `second phase (${decision ?? 'no decision'}) of an XA transaction`;
}
