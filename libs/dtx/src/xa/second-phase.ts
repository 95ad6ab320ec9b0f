// Step 4 of 5 - second phase: what was decided is done to every branch until each is in its place; in any instance.

import { Inject, Injectable, Logger } from '@nestjs/common';
import { backoffMs } from '../core/async/backoff.js';
import { Batcher } from '../core/async/batcher.js';
import { Database } from '../core/database/database.service.js';
import { type Sql } from '../core/database/sql.js';
import { sqlOf } from '../core/database/sql-of.js';
import { Alerts } from '../core/durable/alerts.js';
import { reschedule } from '../core/durable/claim.js';
import type { TableRow } from '../core/durable/durable-table.js';
import type { Outcome } from '../core/durable/durable-work.js';
import type { DurableLoop, Tried } from '../core/durable/loop.js';
import { DurableLoops } from '../core/durable/loops.js';
import { settleFinal } from '../core/durable/settle.js';
import { textOf } from '../core/errors/errors.js';
import { failpoint } from '../core/failpoint.js';
import type { CoreOptions } from '../core/options.js';
import { measure } from '../core/telemetry.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { AfterCommit, type BeforeDone } from './after-commit.js';
import type { XaBranch } from './branch.js';
import { type Carried, CarryOut } from './carry-out.js';
import { Decisions } from './decisions.js';
import { failpoints, SCHEME } from './failpoints.js';
import { DecisionLog } from './log.js';
import { heldForMs, leaseMsOf, XA_OPTIONS, type XaOptions } from './options.js';
import { isLogFault, XA, type XaRow } from './xa-tables.js';
import { parseGtrid } from './xid.js';

/** A branch that a session holds is looked at again after this part of its transaction's age. */
const HELD_AGAIN_PART = 1 / 4;

/**
 * Carries decisions out. The caller's process does it right after the decision, on the connections that have prepared
 * the branches; the scan takes over when that process died, from sessions of its own, and believes only the witnesses.
 */
@Injectable()
export class SecondPhase {
  private readonly logger = new Logger('SecondPhase');
  private readonly loop: DurableLoop<XaRow>;
  private readonly marks: Batcher<XaRow>;
  private readonly afterCommit: AfterCommit;
  /** Branches of this process's own transactions, by the row's id, and who waits for them. */
  private readonly own = new Map<string, { branches: ReadonlyMap<string, XaBranch>; told: () => void }>();

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
    this.afterCommit = new AfterCommit(database, limits, (row, error) => this.tell(row, error));
    this.loop = loops.create<XaRow>({
      scheme: SCHEME,
      table: XA,
      leaseMs,
      scanIntervalMs: core.scanIntervalMs,
      // Room for every transaction of this process, and for as many that others have left.
      concurrencyMax: 2 * options.concurrencyMax,
      attemptsMax: options.attemptsMax,
      backoff: options.backoff,
      // What a copy has brought along is not its own to carry out.
      canRun: () => log.id !== '',
      run: (row) => this.run(row),
      describe: (row) => ({ gid: row.gid, step: stepOf(row) }),
      resolve: (tx, row, outcome) => this.resolve(sqlOf(tx), row, outcome),
    });
  }

  /** By hand only as it was decided: a decision is never reversed. A fault of the log has answers of its own. */
  private async resolve(sql: Sql, row: TableRow, outcome: Outcome): Promise<boolean> {
    if (isLogFault(row.id) ? !(await this.log.settle(sql, row.id, outcome)) : outcome === 'reject') return false;
    await settleFinal(sql, XA, { ids: [row.id] });
    return true;
  }

  /** @throws OptionsError for a second one */
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
   * The fast path: the decision was made here just now. Resolves after the first round, or when that takes too long;
   * the outcome is certain either way.
   */
  async runNow(row: XaRow, branches: readonly XaBranch[]): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.options.secondPhaseWaitMs);
      const told = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.loop.room <= 0) return void this.commitOnly(branches).then(told);
      this.own.set(row.id, { branches: new Map(branches.map((branch) => [branch.name, branch])), told });
      this.loop.runNow(row);
    });
  }

  /** Without room the locks are let go of all the same; the row, whose lease runs out, is left to the scan. */
  private async commitOnly(branches: readonly XaBranch[]): Promise<void> {
    await Promise.all(branches.map((branch) => this.carryOut.isCommitted(branch)));
  }

  /** A row that this process has just decided on for branches of others. Without room it waits for its lease to end. */
  takeUp(row: XaRow): void {
    if (this.loop.room > 0) this.loop.runNow(row);
  }

  private async run(row: XaRow): Promise<Tried> {
    // A person has asked for another look at the log itself, and whoever looks at it next parks it again.
    if (isLogFault(row.id)) return { kind: 'fatal', error: row.last_error ?? 'the decision log cannot be believed' };
    // Copied along with its log, which has an id of its own now: the branches are the original's.
    const logId = parseGtrid(row.gtrid)?.logId ?? this.log.id;
    if (this.log.id !== '' && logId !== this.log.id)
      return { kind: 'fatal', error: `it was decided by another decision log, ${logId}` };
    const own = this.own.get(row.id);
    this.own.delete(row.id);
    try {
      const open = await this.round(row, own?.branches ?? new Map());
      if (open) return open;
    } finally {
      // What is left to do for it is nothing that a caller waits for.
      own?.told();
    }
    return this.finish(row);
  }

  /**
   * One round over all branches in parallel: one that cannot be reached does not hold back the others. Null when every
   * one of them is in its place.
   */
  private async round(row: XaRow, own: ReadonlyMap<string, XaBranch>): Promise<Tried | null> {
    if (row.decision === null) return { kind: 'fatal', error: 'whether it was decided is not known any more' };
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
    if (open.length > 0) return this.triedOf(row, open);
    await failpoint(row.decision === 'COMMIT' ? failpoints.allBranches : failpoints.claimed, async () => {});
    return null;
  }

  /**
   * A branch that has gone the other way is a person's; the row is theirs once nothing is left to do for the others. A
   * name that is not known here is not an attempt: another instance may have the database.
   */
  private async triedOf(row: XaRow, open: readonly Carried[]): Promise<Tried> {
    const error = open.map(({ about }) => about).join('; ');
    const has = (state: Carried['settled']) => open.some(({ settled }) => settled === state);
    if (open.every(({ settled }) => settled === 'contrary')) return { kind: 'fatal', error };
    const isUnknownForLong = has('unknown') && Number(row.age_ms ?? 0) > this.options.unknownBranchMs;
    if (has('contrary') || isUnknownForLong) await this.tell(row, error);
    if (!has('held')) return { kind: 'unreachable' };
    return this.isStillHeld(row) ? this.waitForSession(row, error) : { kind: 'failed', error };
  }

  /** Whoever holds a branch is alive, or its server will end it for its silence: to wait for that is not an attempt. */
  private isStillHeld(row: XaRow): boolean {
    return Number(row.age_ms ?? 0) < heldForMs(this.options);
  }

  private async waitForSession(row: XaRow, error: string): Promise<Tried> {
    const { firstMs, capMs } = this.options.backoff;
    const plainMs = Math.min(Math.max(Number(row.age_ms ?? 0) * HELD_AGAIN_PART, firstMs), capMs);
    const delayMs = backoffMs({ firstMs: plainMs, factor: 1, capMs }, 1);
    await reschedule(this.database.own, XA, row, { error, delayMs, attempts: row.attempts });
    return { kind: 'settled' };
  }

  /** The alert is raised beside the work, which goes on; once for as long as it is open. */
  private async tell(row: XaRow, error: string): Promise<void> {
    const incident = { scheme: SCHEME, id: row.id, gid: row.gid, step: stepOf(row), lastError: error };
    await this.alerts.tell(incident, 'OPEN', async (sql) => {
      // Its lease may have run out meanwhile, and another instance has finished it: that has closed what was to be closed.
      const open = `SELECT id FROM dtx_xa WHERE id = ? AND state IN ('COMMITTING', 'ROLLING_BACK') FOR UPDATE`;
      const rows: unknown[] = await sql.query(open, [row.id]);
      if (rows.length === 0) return false;
      await sql.query('UPDATE dtx_xa SET last_error = ? WHERE id = ?', [error.slice(0, 1_000), row.id]);
      return true;
    });
  }

  /** What follows a commit comes before the mark: if it fails, or the process dies, the row is due again. */
  private async finish(row: XaRow): Promise<Tried> {
    const later = await this.afterCommit.follow(row);
    if (later) return later;
    // Not awaited: if the mark fails, the lease runs out and the witnesses are looked at again.
    this.marks.add(row).catch((error) => this.logger.warn(`cannot mark ${row.id}: ${textOf(error)}`));
    return { kind: 'settled' };
  }

  private async mark(rows: readonly XaRow[]): Promise<void> {
    await failpoint(failpoints.marked, () => this.decisions.markDone(rows.map(({ id }) => id)));
    for (const { id } of rows) measure('settled', { scheme: SCHEME, ms: this.database.ageMs(id) });
  }
}

function stepOf({ decision }: XaRow): string {
  return `carrying out ${decision ?? 'no decision'} of an XA transaction`;
}
