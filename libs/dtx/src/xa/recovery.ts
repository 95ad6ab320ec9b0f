// Step 5 of 5 - recovery: what is prepared is compared with the log; in every instance, at start and for ever.

import { Inject, Injectable, Logger } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { Alerts } from '../core/durable/alerts.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import type { CoreOptions } from '../core/options.js';
import type { Scan } from '../core/scan-status.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { Decisions, type Known } from './decisions.js';
import { SCHEME } from './failpoints.js';
import { ForeignBranches } from './foreign.js';
import { traceOf } from './in-doubt-branch.js';
import { LogIncidents } from './incidents.js';
import { DecisionLog, type LogState } from './log.js';
import { Orphans, type Prepared } from './orphans.js';
import type { Resource } from './resource-manager.js';
import { Resources } from './resource-managers.js';
import { SecondPhase } from './second-phase.js';
import { BRANCH_NAME, FORMAT_ID, parseGtrid, type Xid } from './xid.js';

/** A branch from further in the future than this is told of; one from nearer is waited for. */
const AHEAD_MS = 60_000;

/** Finds orphans. Whatever is not of our own format and our own decision log is reported and never touched. */
@Injectable()
export class Recovery {
  private readonly logger = new Logger('XaRecovery');
  private readonly foreign = new ForeignBranches(this.logger);
  private timer: NodeJS.Timeout | undefined;
  private scanning: Promise<void> = Promise.resolve();
  private isStopped = false;
  private scanned: Scan | undefined;

  constructor(
    private readonly database: Database,
    private readonly resources: Resources,
    private readonly log: DecisionLog,
    private readonly decisions: Decisions,
    private readonly orphans: Orphans,
    private readonly incidents: LogIncidents,
    private readonly secondPhase: SecondPhase,
    private readonly alerts: Alerts,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
  ) {}

  /** Begins to scan. */
  start(): void {
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

  /** One look at every server. A server that is away hides its orphans for as long as it is, and delays nothing else. */
  private async scan(): Promise<void> {
    if (this.log.id === '') return;
    const known = this.resources.branches.filter((resource) => resource.isKnown);
    const looks = await Promise.allSettled(known.map((resource) => this.look(resource)));
    for (const look of looks) {
      if (look.status === 'rejected' && !isUnavailable(look.reason))
        this.logger.error(`scan failed: ${textOf(look.reason)}`);
    }
    this.resources.tellChanges();
  }

  private async look(resource: Resource): Promise<void> {
    const listed = await this.listed(resource);
    if (!listed) return;
    const ours = listed.flatMap((xid) => this.oursOf(resource, xid));
    const strangers = listed.filter((xid) => this.oursOf(resource, xid).length === 0);
    if (ours.length === 0) return this.foreign.report(resource.name, strangers);
    const state = await this.log.read();
    await this.tellOfFuture(ours, state);
    const overdue = ours.filter(({ deadlineMs }) => deadlineMs < state.nowMs);
    // The log before the traces: one that is prepared although it was DONE has come back, and was not ended in between.
    const known = await this.decisions.known(overdue.map(({ id }) => id));
    const here = await this.here(overdue);
    const elsewhere = overdue.filter((one) => !here.includes(one) && !this.isOfAnother(one));
    this.foreign.report(resource.name, [...strangers, ...elsewhere.map(xidOf)]);
    if (here.length > 0) await this.resolve(here, { known, state });
  }

  /** What is prepared there; null where the look has failed, which the database then says of itself. */
  private async listed(resource: Resource): Promise<Xid[] | null> {
    try {
      await resource.checkSchema();
      return await resource.prepared();
    } catch (error) {
      resource.lookFailed(error as Error);
      return null;
    }
  }

  /** By its xid. */
  private oursOf(resource: Resource, { formatId, gtrid, branch }: Xid): Prepared[] {
    const parsed = parseGtrid(gtrid);
    const isOurs = formatId === FORMAT_ID && parsed?.logId === this.log.id && BRANCH_NAME.test(branch);
    return isOurs ? [{ ...parsed, resource, gtrid, branch }] : [];
  }

  /**
   * Those whose witness is held in this very database. A server lists the branches of all its databases, also those of
   * another deployment whose log was copied from ours, or ours from its, so that both have one id. Those are not ours to
   * end.
   */
  private async here(prepared: readonly Prepared[]): Promise<Prepared[]> {
    const traces = await Promise.all(prepared.map((one) => traceOf(one)));
    // guard: xa.here
    return prepared.filter((_, index) => traces[index] === 'held');
  }

  /** A branch of another database of ours on the same server is that one's to look at. */
  private isOfAnother({ resource, branch }: Prepared): boolean {
    return branch !== resource.name && this.resources.branches.some(({ name }) => name === branch);
  }

  private async tellOfFuture(ours: readonly Prepared[], { nowMs }: LogState): Promise<void> {
    const first = ours.find(({ startMs, deadlineMs }) => startMs > nowMs + (deadlineMs - startMs) + AHEAD_MS);
    if (!first) return;
    const seen = `${first.gtrid} at ${first.branch} began at ${new Date(first.startMs).toISOString()}`;
    await this.incidents.raise('clock', seen, { gtrid: first.gtrid });
  }

  /** A branch with a decision is the second phase's, at once if it had been believed to be over. */
  private async resolve(
    overdue: readonly Prepared[],
    { known, state }: { known: ReadonlyMap<string, Known>; state: LogState },
  ): Promise<void> {
    for (const one of overdue) {
      if (known.get(one.id)?.state !== 'DONE') continue;
      // One that fails holds up no other: the next look comes by here again.
      await this.reopen(one).catch((error: Error) => this.logger.warn(`cannot reopen ${one.id}: ${error.message}`));
    }
    await this.orphans.decide(
      overdue.filter(({ id }) => !known.has(id)),
      state,
    );
    this.secondPhase.wake();
  }

  /** One that comes back again and again is a person's: what ends it is not in our power. */
  private async reopen({ id, branch }: Prepared): Promise<void> {
    if (await this.decisions.reopen({ id, branch })) return;
    const error = `its branch at ${branch} is prepared again each time it was ended: end it by hand, then retry`;
    const incident = { scheme: SCHEME, id, gid: id, step: 'recovering an XA branch', lastError: error };
    const isParked = await this.database.own.transaction(async (sql) => {
      if (!(await this.decisions.parkReopened(sql, { id, error }))) return false;
      return this.alerts.raise(sql, incident);
    });
    if (isParked) this.alerts.announce(incident);
  }
}

const xidOf = ({ gtrid, branch }: Prepared): Xid => ({ formatId: FORMAT_ID, gtrid, branch });
