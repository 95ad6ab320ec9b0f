// Step 5 of 5 - recovery: what was prepared and never decided is rolled back; in every instance, at start and for ever.
import { Inject, Injectable, Logger, OnModuleInit } from '@nestjs/common';
import { Alerts } from '../core/alert/alerts.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst, NOW, SqlExpression } from '../core/database/insert-first.js';
import { isLockWait, isUnavailable } from '../core/database/sql-errors.js';
import { NEVER_BY_ITSELF } from '../core/durable/claim.js';
import { failpoint } from '../core/failpoint.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { NOW_MS } from './branch.js';
import { Decisions } from './decisions.js';
import { failpoints, SCHEME } from './failpoints.js';
import { XA_OPTIONS, type XaOptions } from './options.js';
import type { Resource } from './resource.js';
import { Resources } from './resources.js';
import { SecondPhase } from './second-phase.js';
import { FORMAT_ID, type Gtrid, parseGtrid, type Xid } from './xid.js';

/** A branch that has been prepared for longer than its transaction was given. */
interface Overdue extends Gtrid {
  readonly gtrid: string;
  readonly branch: string;
}

/** How long a branch that is not ours may stay before it is spoken of: others have their own recovery. */
const FOREIGN_AFTER_MS = 60_000;

/** Finds orphans. Whatever is not of our own format and our own decision log is reported and never touched. */
@Injectable()
export class Recovery implements OnModuleInit {
  private readonly logger = new Logger('XaRecovery');
  private timer: NodeJS.Timeout | undefined;
  private scanning: Promise<void> = Promise.resolve();
  private isStopped = false;
  private foreignSince = new Map<string, number>();

  constructor(
    private readonly database: Database,
    private readonly resources: Resources,
    private readonly decisions: Decisions,
    private readonly secondPhase: SecondPhase,
    private readonly alerts: Alerts,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {}

  onModuleInit(): void {
    if (this.resources.branches.length === 0) return;
    this.database.onReady(() => {
      this.secondPhase.start();
      this.schedule(0);
    });
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.scanning;
  }

  private schedule(delayMs: number): void {
    if (this.isStopped) return;
    this.timer = setTimeout(() => {
      this.scanning = this.scan().finally(() => this.schedule(this.core.scanIntervalMs * (0.8 + Math.random() * 0.4)));
    }, delayMs);
  }

  /** One look at every server. A server that is away hides its orphans for as long as it is, and delays nothing else. */
  private async scan(): Promise<void> {
    if (this.decisions.logId === '') return;
    const known = this.resources.branches.filter((resource) => resource.isKnown);
    const looks = await Promise.allSettled(known.map((resource) => this.look(resource)));
    for (const look of looks) {
      if (look.status === 'rejected' && !isUnavailable(look.reason))
        this.logger.error(`scan failed: ${(look.reason as Error).message}`);
    }
  }

  private async look(resource: Resource): Promise<void> {
    await resource.checkSchema();
    const listed = await resource.prepared();
    const ours = listed.flatMap((xid) => this.oursOf(xid));
    this.reportForeign(resource.name, listed);
    if (ours.length === 0) return;
    const [{ ms }] = await this.database.own.query(`SELECT ${NOW_MS} AS ms`);
    const overdue = ours.filter(({ deadlineMs }) => deadlineMs < Number(ms));
    if (overdue.length > 0) await this.resolve(overdue, Number(ms));
  }

  private oursOf({ formatId, gtrid, branch }: Xid): Overdue[] {
    const parsed = parseGtrid(gtrid);
    if (formatId !== FORMAT_ID || parsed?.logId !== this.decisions.logId) return [];
    return [{ ...parsed, gtrid, branch }];
  }

  /**
   * A branch with a decision is the second phase's, at once if it had been believed to be over. One without is decided
   * now, unless it is from before the log's memory: then nobody knows, and a person must.
   */
  private async resolve(overdue: readonly Overdue[], nowMs: number): Promise<void> {
    const known = await this.decisions.known(overdue.map(({ id }) => id));
    await this.decisions.reopen(overdue.map(({ id }) => id).filter((id) => known.get(id)?.state === 'DONE'));
    for (const orphan of overdue.filter(({ id }) => !known.has(id))) {
      if (orphan.startMs < nowMs - this.options.retentionMs) await this.giveUp(orphan);
      else await this.presume(orphan);
    }
    this.secondPhase.wake();
  }

  /** Every branch database may have a branch of it: one that is not prepared yet must find its witness taken. */
  private async presume(orphan: Overdue): Promise<void> {
    const about = { id: orphan.id, gid: orphan.id, gtrid: orphan.gtrid, branches: this.allNames() };
    try {
      const { row } = await this.decisions.presumeRollback(about, orphan.startMs);
      if (!row) return; // another instance was first, and carries it out
      await failpoint(failpoints.presumed, async () => {});
      this.secondPhase.takeUp(row);
    } catch (error) {
      // Its decision is being committed at this very moment, or hangs there: the next look tells.
      if (!isLockWait(error)) throw error;
    }
  }

  /** The row and its one alert are written together. */
  private async giveUp({ id, gtrid, startMs, branch }: Overdue): Promise<void> {
    const error = `prepared at ${branch}, and older than the decision log remembers: commit or roll it back by hand`;
    const incident = { scheme: SCHEME, id, gid: id, step: 'recovering an XA branch', lastError: error };
    const isNew = await this.database.own.transaction(async (sql) => {
      const about = { id, gid: id, gtrid, branches: branch, decision: null, state: 'PARKED', last_error: error };
      const times = {
        next_attempt_at: new SqlExpression(NEVER_BY_ITSELF),
        created_at: new Date(startMs),
        decided_at: NOW,
      };
      if (!(await insertFirst(sql, 'dtx_xa', { ...about, ...times }))) return false;
      await this.alerts.raise(sql, incident);
      return true;
    });
    if (isNew) this.alerts.announce(incident);
  }

  private allNames(): string {
    return this.resources.branches.map(({ name }) => name).join(',');
  }

  /** Once per branch and process, when it has been there for long: it holds locks that somebody will run into. */
  private reportForeign(server: string, listed: readonly Xid[]): void {
    const foreign = listed.filter((xid) => this.oursOf(xid).length === 0);
    const keys = new Set(foreign.map(({ formatId, gtrid, branch }) => `${server} ${formatId} ${gtrid} ${branch}`));
    for (const key of this.foreignSince.keys())
      if (key.startsWith(`${server} `) && !keys.has(key)) this.foreignSince.delete(key);
    for (const key of keys) {
      const since = this.foreignSince.get(key) ?? performance.now();
      const isOld = performance.now() - since > FOREIGN_AFTER_MS;
      if (isOld)
        this.logger.warn(`a prepared branch that is not ours stays at ${JSON.stringify(key)}; it is left alone`);
      this.foreignSince.set(key, isOld ? Number.POSITIVE_INFINITY : since);
    }
  }
}
