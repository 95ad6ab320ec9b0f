// For step 5, recovery: a committed branch proves a decision. If the log lacks it, the newest rows of the log are lost.
// The check only reads, and what it has compared is in memory. A restarted process compares again.

import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import type { Sql } from '../core/database/sql-executor.js';
import { BackgroundWork } from '../core/durable/background-work.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { idFloor } from '../core/ids.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { LogIncidents } from './decision-log-incidents.js';
import { DecisionLog, type LogState } from './decision-log-trust.js';
import type { Query } from './dialect.js';
import { XA_OPTIONS, type XaOptions } from './options.js';
import { isMissingTable, type ResourceManager } from './resource-manager.js';
import { ResourceManagers } from './resource-manager-registry.js';
import { parseGtrid } from './xid.js';

/** Number of the newest witnesses that each check reads, besides all that are new since the last check. */
const PAGE = 1_000;
/** Age of a missing decision beyond its deadline. The log may be read from a place that receives it late. */
const MARGIN_MS = 2_000;
/** Transactions that an alert names. Its text has a limit. */
const NAMED_MAX = 3;
/**
 * Length of `<log id, 16>.<timeout, 6>.`: witnesses of one log and timeout are adjacent, in the order of their begin.
 */
const PREFIX_CHARS = 24;

/**
 * Compares the log with the witnesses of committed branches. A log that was restored from a backup, or lives on a
 * promoted replica that lagged, lacks its newest decisions. The newest witnesses show that. The log alone cannot,
 * because everything in it was set back together.
 */
@Injectable()
export class DecisionLossCheck {
  private readonly logger = libraryLogger('xa log');
  /** The newest compared gtrid, by database and prefix. */
  private readonly seen = new Map<string, string>();
  private timer: NodeJS.Timeout | undefined;
  private checking: Promise<void> | undefined;
  /** Time of the last comparison of each database, or of the last failed one, by `performance.now()`. */
  private readonly comparedAt = new Map<ResourceManager, number>();
  private isStopped = false;

  constructor(
    private readonly database: Database,
    private readonly resources: ResourceManagers,
    private readonly log: DecisionLog,
    private readonly incidents: LogIncidents,
    private readonly background: BackgroundWork,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {}

  start(): void {
    this.background.register({ name: 'xa decision loss', phase: 'check', runOnce: () => this.fresh().then(() => 0) });
    if (this.background.isContinuous) this.schedule(0);
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.checking?.catch(() => {});
  }

  /** Resolves to true if every open database was compared within the interval, or did not answer. */
  async fresh(): Promise<boolean> {
    // A running check may have begun before a database or the log was opened.
    for (let tries = 1; tries <= 2 && !this.isFresh; tries++) {
      this.checking ??= this.check().finally(() => {
        this.checking = undefined;
      });
      await this.checking;
    }
    return this.isFresh;
  }

  /**
   * Whether the comparison is recent. One before the log's opening does not count, since the log may have been set back
   * before.
   */
  get isFresh(): boolean {
    const oldest = Math.max(this.log.openedAt, performance.now() - this.options.logCheckIntervalMs);
    const isOpen = this.log.id !== '';
    return isOpen && this.known.every((resource) => (this.comparedAt.get(resource) ?? 0) > oldest);
  }

  private get known(): ResourceManager[] {
    return this.resources.branches.filter(({ isKnown }) => isKnown);
  }

  private schedule(delayMs: number): void {
    if (this.isStopped) return;
    this.timer = setTimeout(() => {
      void this.fresh()
        .catch((error) => this.logUnexpected(error))
        .finally(() => this.schedule(this.core.scanIntervalMs));
    }, delayMs);
  }

  private async check(): Promise<void> {
    if (this.log.id === '') return;
    const problem = this.log.problem;
    await this.log.checkFlush();
    if (this.log.problem && this.log.problem !== problem) this.logger.error(`XA cannot begin: ${this.log.problem}`);
    const state = await this.log.read();
    await Promise.all(
      this.known.map(async (resource) => {
        // A database that cannot be compared delays nothing. Each decision asks every database about its transaction
        // anyway.
        // guard: xa.compare
        await this.compare(resource, state).catch((error) => this.logUnexpected(error, ` ${resource.name}`));
        this.comparedAt.set(resource, performance.now());
      }),
    );
  }

  private logUnexpected(error: unknown, branch = ''): void {
    const isExpected = isUnavailable(error) || isMissingTable(error);
    if (!isExpected)
      this.logger.error(
        `cannot compare the decision log with the branches${branch && ` in${branch}`}, retrying: ${textOf(error)}`,
      );
  }

  private async compare(resource: ResourceManager, state: LogState): Promise<void> {
    const prefixes = await resource.ask((query) => prefixesOf(query, this.log.id));
    for (const prefix of prefixes) await this.compareFrom(resource, prefix, state);
  }

  /** Reads the witnesses from the newest, page by page, down to the ones compared before. */
  private async compareFrom(
    resource: ResourceManager,
    prefix: string,
    { nowMs, trustedFromMs, doubtedUntilMs }: LogState,
  ): Promise<void> {
    const timeoutMs = Number.parseInt(prefix.slice(17, 23), 16);
    // A log that is in doubt already has its alert for older losses.
    const since = Math.max(trustedFromMs, doubtedUntilMs, nowMs - this.options.retentionMs);
    const floor = prefix + idFloor(since);
    let before = prefix + idFloor(nowMs - timeoutMs - MARGIN_MS);
    const key = `${resource.name} ${prefix}`;
    const seenBefore = this.seen.get(key) ?? '';
    let newest = '';
    for (;;) {
      const gtrids = await resource.ask((query) => committed(query, { from: floor, before }));
      newest ||= gtrids[0] ?? '';
      await this.compareWitnesses(
        resource,
        gtrids.filter((gtrid) => parseGtrid(gtrid) !== null),
      );
      before = gtrids.at(-1) ?? '';
      // The first pass reads only the newest page: older decisions are lost only together with all later ones.
      if (gtrids.length < PAGE || seenBefore === '' || before <= seenBefore) break;
    }
    if (newest > seenBefore) this.seen.set(key, newest);
  }

  private async compareWitnesses(resource: ResourceManager, gtrids: readonly string[]): Promise<void> {
    const missing = await this.undecided(gtrids);
    if (missing.length === 0) return;
    // The purge removes witnesses before their decisions, so a witness that still exists was not purged.
    const still = await resource.ask((query) => query(UNPURGED_SQL, [missing]));
    if (still.length > 0)
      await this.reportMissing(
        resource.name,
        still.map(({ gtrid }) => String(gtrid)),
      );
  }

  /** Reports that a branch of this gtrid is committed in this database while the log lacks the decision. */
  async reportMissing(where: string, gtrids: readonly string[]): Promise<void> {
    const more = gtrids.length > NAMED_MAX ? ` and ${gtrids.length - NAMED_MAX} more` : '';
    const named = gtrids.slice(0, NAMED_MAX).join(', ');
    const seen = `${where} has committed ${named}${more}, and ${this.database.names.inDatabase('dtx_xa')} has no such decision`;
    const isStill = async (sql: Sql) => !(await this.log.isTrusted(sql, parseGtrid(gtrids[0]!)!.startMs));
    await this.incidents.raise('tail', seen, { gtrid: gtrids[0]!, isStill });
  }

  private async undecided(gtrids: readonly string[]): Promise<string[]> {
    if (gtrids.length === 0) return [];
    const ids = gtrids.map((gtrid) => parseGtrid(gtrid)!.id);
    const rows: Array<{ id: string }> = await this.database.own.query('SELECT id FROM dtx_xa WHERE id IN (?)', [ids]);
    const decided = new Set(rows.map(({ id }) => id));
    return gtrids.filter((gtrid) => !decided.has(parseGtrid(gtrid)!.id));
  }
}

/** The timeouts in use in this log's witnesses, as prefixes. There are few, and each takes one index step. */
async function prefixesOf(query: Query, logId: string): Promise<string[]> {
  const found: string[] = [];
  const end = `${logId}/`; // sorts right behind `<log id>.`
  for (let after = `${logId}.`; ; ) {
    const [row] = await query('SELECT gtrid FROM dtx_xa_witness WHERE gtrid > ? AND gtrid < ? ORDER BY gtrid LIMIT 1', [
      after,
      end,
    ]);
    if (!row) return found;
    const prefix = String(row.gtrid).slice(0, PREFIX_CHARS);
    if (parseGtrid(String(row.gtrid))) found.push(prefix);
    after = `${prefix}~`;
  }
}

async function committed(query: Query, { from, before }: { from: string; before: string }): Promise<string[]> {
  const rows = await query(
    `SELECT gtrid FROM dtx_xa_witness WHERE gtrid >= ? AND gtrid < ? AND who = 'branch' ORDER BY gtrid DESC LIMIT ${PAGE}`,
    [from, before],
  );
  return rows.map(({ gtrid }) => String(gtrid));
}

const UNPURGED_SQL = `SELECT gtrid FROM dtx_xa_witness WHERE gtrid IN (?) AND who = 'branch'`;
