// For step 5, recovery: what is prepared past its deadline and has no decision is rolled back, if that proves anything.

import { Inject, Injectable, Logger } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { insertFirst, NOW } from '../core/database/insert-first.js';
import { Alerts } from '../core/durable/alerts.js';
import { parkedColumns } from '../core/durable/settle.js';
import { textOf } from '../core/errors/errors.js';
import { isLockWait } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { Decisions } from './decisions.js';
import { failpoints, SCHEME } from './failpoints.js';
import type { Place } from './in-doubt-branch.js';
import { DecisionLog, type LogState } from './log.js';
import { XA_OPTIONS, type XaOptions } from './options.js';
import { isNoTable } from './resource-manager.js';
import { Resources } from './resource-managers.js';
import { SecondPhase } from './second-phase.js';
import { TailCheck } from './tail.js';
import type { Gtrid } from './xid.js';

/** A branch that is prepared, in the database where it works. */
export interface Prepared extends Gtrid, Place {}

/** Orphans decided on at once: each may meet a lock. */
const GROUP = 8;
/** The server of the log has run since before a transaction by at least this much: its clock has whole seconds. */
const UPTIME_MARGIN_MS = 2_000;
/** How often it is said that orphans wait for a database. */
const SAY_EVERY_MS = 60_000;

/**
 * Presumed abort: a decision that is not in the log was never made. That holds for a log that is whole, and is acted on
 * only with evidence that it is:
 * - its sentinel is there, and the newest committed branches have their decisions (see `TailCheck`);
 * - no other branch of the same transaction has been committed, in any database;
 * - a database that cannot be asked about that does not matter only while the log's server has run since before the
 *   transaction began: then nothing can have set the log back.
 * Otherwise nothing is decided: the fault of the log is PARKED with one alert, and what is prepared stays prepared.
 */
@Injectable()
export class Orphans {
  private readonly logger = new Logger('XaRecovery');
  private saidAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly database: Database,
    private readonly resources: Resources,
    private readonly log: DecisionLog,
    private readonly decisions: Decisions,
    private readonly tail: TailCheck,
    private readonly secondPhase: SecondPhase,
    private readonly alerts: Alerts,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {}

  /**
   * Decides on branches that are past their deadline, in this very database, and without a decision. One that is from
   * before the log's memory is a person's.
   * @param seen what was believed of the log when they were found
   */
  async decide(orphans: readonly Prepared[], seen: LogState): Promise<void> {
    if (orphans.length === 0) return;
    const state = this.tail.isFresh ? seen : await this.compared();
    if (state === null) return;
    const isOlder = ({ startMs }: Prepared) => startMs < state.nowMs - this.options.retentionMs;
    await this.each(orphans.filter(isOlder), (one) => this.giveUp(one, 'and older than the decision log remembers'));
    const presumable = await this.presumable(
      orphans.filter((one) => !isOlder(one)),
      state,
    );
    // guard: xa.presume
    await this.each(presumable, (orphan) => this.presume(orphan));
  }

  /** Side by side, some at once: one that meets a lock or fails holds up no other. */
  private async each(orphans: readonly Prepared[], step: (one: Prepared) => Promise<void>): Promise<void> {
    for (let at = 0; at < orphans.length; at += GROUP) {
      const group = orphans.slice(at, at + GROUP);
      const ends = await Promise.allSettled(group.map(step));
      for (const [index, end] of ends.entries())
        if (end.status === 'rejected') this.logger.warn(`cannot decide on ${group[index]!.id}: ${textOf(end.reason)}`);
    }
  }

  /** What can be believed of the log once it is compared with all databases that answer; null when it was not. */
  private async compared(): Promise<LogState | null> {
    return (await this.tail.fresh()) ? this.log.read() : null;
  }

  /** Those of which the absence of a decision is evidence. */
  private async presumable(orphans: readonly Prepared[], state: LogState): Promise<readonly Prepared[]> {
    const certain = orphans.filter(({ startMs }) => startMs > state.doubtedUntilMs);
    if (certain.length === 0) return [];
    const { committed, isComplete } = await this.siblings(certain.map(({ gtrid }) => gtrid));
    // The log once more, after the witnesses: a commit that hung may have ended since, and was carried out.
    const decided = await this.decisions.known(certain.filter(({ gtrid }) => committed.has(gtrid)).map(({ id }) => id));
    // guard: xa.half
    const half = certain.filter(({ id, gtrid }) => committed.has(gtrid) && !decided.has(id));
    const isTrusted = ({ startMs }: Prepared) => startMs < state.trustedFromMs;
    // A person has looked at the log since, and has left this one as it is.
    await this.each(half.filter(isTrusted), (one) =>
      this.giveUp(one, `while ${committed.get(one.gtrid)} has committed its branch, and nobody knows the decision`),
    );
    const news = half.filter((one) => !isTrusted(one)).map(({ gtrid }) => gtrid);
    // That is about the log, so none of those that were prepared by now is decided on.
    if (news.length > 0) {
      await this.tail.tell(committed.get(news[0]!)!, news);
      return [];
    }
    // guard: xa.whole
    const whole = certain.filter(({ gtrid }) => !committed.has(gtrid));
    if (isComplete) return whole;
    const sinceMs = state.nowMs - (await this.logUptimeMs()) + UPTIME_MARGIN_MS;
    return whole.filter(({ startMs }) => startMs > sinceMs);
  }

  /** In which database a branch of these transactions has been committed, by gtrid, and whether all could be asked. */
  private async siblings(gtrids: readonly string[]): Promise<{ committed: Map<string, string>; isComplete: boolean }> {
    const committed = new Map<string, string>();
    const silent: string[] = [];
    await Promise.all(
      this.resources.branches.map(async (resource) => {
        try {
          if (!resource.isKnown) throw new Error('it is not open yet');
          const rows = await resource
            .ask((query) => query(COMMITTED_SQL, [gtrids]))
            .catch((error) => {
              if (isNoTable(error)) return [];
              throw error;
            });
          for (const { gtrid } of rows) committed.set(String(gtrid), resource.name);
        } catch (error) {
          silent.push(`${resource.name} (${textOf(error)})`);
        }
      }),
    );
    if (silent.length > 0 && performance.now() - this.saidAt > SAY_EVERY_MS) {
      this.saidAt = performance.now();
      this.logger.warn(
        `cannot ask ${silent.join(', ')} about ${gtrids.length} prepared transactions without a decision`,
      );
    }
    return { committed, isComplete: silent.length === 0 };
  }

  private async logUptimeMs(): Promise<number> {
    const [row] = await this.database.own.query(`SHOW GLOBAL STATUS LIKE 'Uptime'`);
    return Number(row.Value) * 1_000;
  }

  /** Every branch database may have a branch of it: one that is not prepared yet must find its witness taken. */
  private async presume({ id, gtrid, startMs, branch }: Prepared): Promise<void> {
    // Its COMMIT hangs: the next look tells.
    if (await this.decisions.isBeingDecided(id)) return;
    const names = new Set([...this.resources.branches.map(({ name }) => name), branch]);
    const about = { id, gid: id, gtrid, branches: [...names].join(',') };
    try {
      const { row } = await this.decisions.presumeRollback(about, startMs);
      if (!row) return; // another instance was first, and carries it out
      await failpoint(failpoints.presumed, async () => {});
      this.secondPhase.takeUp(row);
    } catch (error) {
      if (!isLockWait(error)) throw error;
    }
  }

  /** The row and its one alert are written together. */
  private async giveUp({ id, gtrid, startMs, branch }: Prepared, why: string): Promise<void> {
    const error = `prepared at ${branch}, ${why}: commit or roll it back by hand`;
    const incident = { scheme: SCHEME, id, gid: id, step: 'recovering an XA branch', lastError: error };
    const isNew = await this.database.own.transaction(async (tx) => {
      const about = { id, gid: id, gtrid, branches: branch, decision: null, ...parkedColumns(error) };
      const times = { created_at: new Date(startMs), decided_at: NOW };
      if (!(await insertFirst(tx, 'dtx_xa', { ...about, ...times }))) return false;
      await this.alerts.raise(tx, incident);
      return true;
    });
    if (isNew) this.alerts.announce(incident);
  }
}

const COMMITTED_SQL = `SELECT DISTINCT gtrid FROM dtx_xa_witness WHERE gtrid IN (?) AND who = 'branch'`;
