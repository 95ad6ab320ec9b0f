// For step 5, recovery: a branch that was committed proves its decision; a log that does not know of it has lost its end.

import { Inject, Injectable, Logger } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import type { Sql } from '../core/database/sql.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { idFloor } from '../core/ids.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import type { Query } from './dialect.js';
import { LogIncidents } from './incidents.js';
import { DecisionLog, type LogState } from './log.js';
import { XA_OPTIONS, type XaOptions } from './options.js';
import { isNoTable, type Resource } from './resource-manager.js';
import { Resources } from './resource-managers.js';
import { parseGtrid } from './xid.js';

/** So many of the newest witnesses are looked at each time, and all that have come since the last time. */
const PAGE = 1_000;
/** Beyond its deadline a decision is this old at least when it is missed: it may be read from where it comes late. */
const MARGIN_MS = 2_000;
/** `<log id, 16>.<timeout, 6>.`: witnesses of one log and one timeout stand together, in the order of their begin. */
const PREFIX_CHARS = 24;

/**
 * Compares the log with the witnesses of committed branches. A log that is set back (restored from a backup, failed over
 * to a replica that lagged) has lost all that it had decided up to that moment, so the newest witnesses show it. Not by
 * the log alone: everything in it is set back together.
 */
@Injectable()
export class TailCheck {
  private readonly logger = new Logger('XaLog');
  /** Up to where the witnesses of a database were looked at, by their prefix and database. */
  private readonly seen = new Map<string, string>();
  private timer: NodeJS.Timeout | undefined;
  private checking: Promise<void> | undefined;
  /** When each database was last compared, or found silent, by `performance.now()`. */
  private readonly triedAt = new Map<Resource, number>();
  private isStopped = false;

  constructor(
    private readonly database: Database,
    private readonly resources: Resources,
    private readonly log: DecisionLog,
    private readonly incidents: LogIncidents,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {}

  start(): void {
    this.schedule(0);
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.checking?.catch(() => {});
  }

  /** True when every database that is open here was compared within the interval, or does not answer. */
  async fresh(): Promise<boolean> {
    // One that is under way may have begun before a database, or the log, was opened.
    for (let tries = 1; tries <= 2 && !this.isFresh; tries++) {
      this.checking ??= this.check().finally(() => {
        this.checking = undefined;
      });
      await this.checking;
    }
    return this.isFresh;
  }

  /** Since the log was opened: it may have been set back while it was not. */
  get isFresh(): boolean {
    const oldest = Math.max(this.log.openedAt, performance.now() - this.options.logCheckIntervalMs);
    const isOpen = this.log.id !== '';
    return isOpen && this.known.every((resource) => (this.triedAt.get(resource) ?? 0) > oldest);
  }

  private get known(): Resource[] {
    return this.resources.branches.filter(({ isKnown }) => isKnown);
  }

  private schedule(delayMs: number): void {
    if (this.isStopped) return;
    this.timer = setTimeout(() => {
      void this.fresh()
        .catch((error) => this.say(error))
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
        // One that cannot be compared holds up nothing: before a decision every database is asked about its transaction.
        // guard: xa.compare
        await this.compare(resource, state).catch((error) => this.say(error));
        this.triedAt.set(resource, performance.now());
      }),
    );
  }

  private say(error: unknown): void {
    const isExpected = isUnavailable(error) || isNoTable(error);
    if (!isExpected) this.logger.error(`cannot compare the decision log with the branches: ${textOf(error)}`);
  }

  private async compare(resource: Resource, state: LogState): Promise<void> {
    const prefixes = await resource.ask((query) => prefixesOf(query, this.log.id));
    for (const prefix of prefixes) await this.compareFrom(resource, prefix, state);
  }

  /** Newest first, page by page, down to what was looked at before. */
  private async compareFrom(
    resource: Resource,
    prefix: string,
    { nowMs, trustedFromMs, doubtedUntilMs }: LogState,
  ): Promise<void> {
    const timeoutMs = Number.parseInt(prefix.slice(17, 23), 16);
    // What is missing from a log that is in doubt already is no news.
    const since = Math.max(trustedFromMs, doubtedUntilMs, nowMs - this.options.retentionMs);
    const floor = prefix + idFloor(since);
    let before = prefix + idFloor(nowMs - timeoutMs - MARGIN_MS);
    const key = `${resource.name} ${prefix}`;
    const seenBefore = this.seen.get(key) ?? '';
    let newest = '';
    for (;;) {
      const gtrids = await resource.ask((query) => committed(query, { from: floor, before }));
      newest ||= gtrids[0] ?? '';
      await this.report(
        resource,
        gtrids.filter((gtrid) => parseGtrid(gtrid) !== null),
      );
      before = gtrids.at(-1) ?? '';
      // The first pass looks at the newest only: what was lost long ago was lost with all that came after it.
      if (gtrids.length < PAGE || seenBefore === '' || before <= seenBefore) break;
    }
    if (newest > seenBefore) this.seen.set(key, newest);
  }

  private async report(resource: Resource, gtrids: readonly string[]): Promise<void> {
    const missing = await this.undecided(gtrids);
    if (missing.length === 0) return;
    // Witnesses go before their decisions: one that is still there was not purged together with its decision.
    const still = await resource.ask((query) => query(STILL_SQL, [missing]));
    if (still.length > 0)
      await this.tell(
        resource.name,
        still.map(({ gtrid }) => String(gtrid)),
      );
  }

  /** A branch of this gtrid was committed in this database, and the log knows of no decision. */
  async tell(where: string, gtrids: readonly string[]): Promise<void> {
    const more = gtrids.length > 1 ? ` and ${gtrids.length - 1} more` : '';
    const seen = `${where} has committed ${gtrids[0]}${more}, and dtx_xa has no decision on it`;
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

/** Which timeouts the transactions of this log were given, as far as they left witnesses: a few, each one step of the index. */
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

const STILL_SQL = `SELECT gtrid FROM dtx_xa_witness WHERE gtrid IN (?) AND who = 'branch'`;
