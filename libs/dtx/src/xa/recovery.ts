// Step 5 of 5 - recovery: every instance compares the prepared branches with the log, at start and periodically.

import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { Alerts } from '../core/durable/alerts.js';
import { BackgroundWork } from '../core/durable/background-work.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import type { Scan } from '../core/scan-status.js';
import { Decisions, type LoggedDecision } from './decision-log-entries.js';
import { LogIncidents } from './decision-log-incidents.js';
import { DecisionLog, type LogState } from './decision-log-trust.js';
import { SCHEME } from './failpoints.js';
import { ForeignBranches } from './foreign-branches.js';
import { Orphans, type Prepared } from './presumed-abort.js';
import { traceOf } from './resolve-by-witness.js';
import type { ResourceManager } from './resource-manager.js';
import { ResourceManagers } from './resource-manager-registry.js';
import { SecondPhase } from './second-phase.js';
import { BRANCH_NAME, FORMAT_ID, parseGtrid, type Xid } from './xid.js';

/** A begin further in the future than this raises an alert. A nearer one is waited for. */
const AHEAD_MS = 60_000;

/**
 * Finds orphans. A branch with another format or another decision log is reported and never touched. If the process
 * dies during a scan, nothing is lost: another instance scans, or this one after its restart.
 */
@Injectable()
export class Recovery {
  private readonly logger = libraryLogger('xa recovery');
  private readonly foreign = new ForeignBranches(this.logger);
  private timer: NodeJS.Timeout | undefined;
  private scanning: Promise<void> = Promise.resolve();
  private isStopped = false;
  private scanned: Scan | undefined;

  constructor(
    private readonly database: Database,
    private readonly resources: ResourceManagers,
    private readonly log: DecisionLog,
    private readonly decisions: Decisions,
    private readonly orphans: Orphans,
    private readonly incidents: LogIncidents,
    private readonly secondPhase: SecondPhase,
    private readonly alerts: Alerts,
    private readonly background: BackgroundWork,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
  ) {}

  /** Starts the periodic scan. The first one runs at once. */
  start(): void {
    this.background.register({ name: 'xa recovery', phase: 'receive', runOnce: () => this.scan().then(() => 0) });
    if (!this.background.isContinuous) return;
    this.scanned = this.database.scans.begin('xa recovery', this.core.scanIntervalMs);
    this.schedule(0);
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    this.database.scans.end(this.scanned);
    clearTimeout(this.timer);
    await this.scanning;
  }

  private schedule(delayMs: number): void {
    if (this.isStopped) return;
    this.timer = setTimeout(() => {
      this.scanning = this.scan().finally(() => {
        this.scanned?.completed();
        this.schedule(this.core.scanIntervalMs * (0.8 + Math.random() * 0.4));
      });
    }, delayMs);
  }

  /** Looks at every server once. An unavailable server hides its orphans while it is down, and delays nothing else. */
  private async scan(): Promise<void> {
    if (this.log.id === '') return;
    const known = this.resources.branches.filter((resource) => resource.isKnown);
    const looks = await Promise.allSettled(known.map((resource) => this.look(resource)));
    for (const look of looks) {
      if (look.status === 'rejected' && !isUnavailable(look.reason))
        this.logger.error(`XA recovery scan failed, retrying: ${textOf(look.reason)}`);
    }
    this.resources.logChanges();
  }

  private async look(resource: ResourceManager): Promise<void> {
    const listed = await this.listed(resource);
    if (!listed) return;
    const ours = listed.flatMap((xid) => this.parseOurs(resource, xid));
    const strangers = listed.filter((xid) => this.parseOurs(resource, xid).length === 0);
    if (ours.length === 0) return this.foreign.report(resource.name, strangers);
    const state = await this.log.read();
    await this.reportFuture(ours, state);
    const overdue = ours.filter(({ deadlineMs }) => deadlineMs < state.nowMs);
    // The log is read before the traces. So a branch of a DONE row that is still prepared has come back, rather than
    // ended in between.
    const known = await this.decisions.known(overdue.map(({ id }) => id));
    const here = await this.here(overdue);
    const elsewhere = overdue.filter((one) => !here.includes(one) && !this.isOfAnother(one));
    this.foreign.report(resource.name, [...strangers, ...elsewhere.map(xidOf)]);
    if (here.length > 0) await this.resolve(here, known);
  }

  /** Lists the prepared branches. Resolves to null after a failure, which the resource manager reports. */
  private async listed(resource: ResourceManager): Promise<Xid[] | null> {
    try {
      await resource.checkSchema();
      return await resource.prepared();
    } catch (error) {
      resource.scanFailed(error as Error);
      return null;
    }
  }

  /** Parses an xid of this library and this decision log. Returns an empty list for any other. */
  private parseOurs(resource: ResourceManager, { formatId, gtrid, branch }: Xid): Prepared[] {
    const parsed = parseGtrid(gtrid);
    const isOurs = formatId === FORMAT_ID && parsed?.logId === this.log.id && BRANCH_NAME.test(branch);
    return isOurs ? [{ ...parsed, resource, gtrid, branch }] : [];
  }

  /**
   * Selects the branches whose witness is locked in this very database. A server lists the branches of all its
   * databases. One of them may belong to another deployment, whose log is a copy of ours or ours of its, with the same
   * log id. Such branches are not ours to end.
   */
  private async here(prepared: readonly Prepared[]): Promise<Prepared[]> {
    const traces = await Promise.all(prepared.map((one) => traceOf(one)));
    // guard: xa.here
    return prepared.filter((_, index) => traces[index] === 'held');
  }

  /** Whether the branch works in another configured database of the same server, whose own scan covers it. */
  private isOfAnother({ resource, branch }: Prepared): boolean {
    return branch !== resource.name && this.resources.branches.some(({ name }) => name === branch);
  }

  private async reportFuture(ours: readonly Prepared[], { nowMs }: LogState): Promise<void> {
    const first = ours.find(({ startMs, deadlineMs }) => startMs > nowMs + (deadlineMs - startMs) + AHEAD_MS);
    if (!first) return;
    const seen = `${first.gtrid} at ${first.branch} began at ${new Date(first.startMs).toISOString()}`;
    await this.incidents.raise('clock', seen, { gtrid: first.gtrid });
  }

  /**
   * Routes overdue branches. One with a decision belongs to the second phase, after a reopen if its row was DONE. One
   * without a decision is an orphan.
   */
  private async resolve(overdue: readonly Prepared[], known: ReadonlyMap<string, LoggedDecision>): Promise<void> {
    for (const one of overdue) {
      if (known.get(one.id)?.state !== 'DONE') continue;
      // A failure delays no other branch. The next scan tries again.
      await this.reopen(one).catch((error: Error) =>
        this.logger.warn(`cannot reopen ${one.id}, retrying: ${error.message}`),
      );
    }
    await this.orphans.decide(overdue.filter(({ id }) => !known.has(id)));
    this.secondPhase.wake();
  }

  /**
   * Reopens a DONE row whose branch is prepared again. Parks it after `attemptsMax` times, since the cause is outside
   * XA.
   */
  private async reopen({ id, branch }: Prepared): Promise<void> {
    if (await this.decisions.reopen({ id, branch })) return;
    const error = `the branch at ${branch} was prepared again each time after it ended; end it by hand, then retry`;
    const incident = { scheme: SCHEME, id, gid: id, step: 'recovering an XA branch', lastError: error };
    const isParked = await this.database.own.transaction(async (sql) => {
      if (!(await this.decisions.parkReopened(sql, { id, error }))) return false;
      return this.alerts.raise(sql, incident);
    });
    if (isParked) this.alerts.announce(incident);
  }
}

const xidOf = ({ gtrid, branch }: Prepared): Xid => ({ formatId: FORMAT_ID, gtrid, branch });
