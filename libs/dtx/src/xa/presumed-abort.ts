// For step 5, recovery: an orphan (prepared, past its deadline, without a decision) is rolled back if that proves
// anything.

import { Inject, Injectable } from '@nestjs/common';
import { NOW } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst } from '../core/database/insert-first.js';
import { Alerts } from '../core/durable/alerts.js';
import { parkedColumns } from '../core/durable/settle-or-park.js';
import { textOf } from '../core/errors/errors.js';
import { isLockWait } from '../core/errors/sql-errors.js';
import { failpoint } from '../core/failpoint.js';
import { libraryLogger } from '../core/library-logger.js';
import { Decisions } from './decision-log-entries.js';
import { DecisionLog, type LogState } from './decision-log-trust.js';
import { DecisionLossCheck } from './decision-loss-check.js';
import { failpoints, SCHEME } from './failpoints.js';
import { XA_OPTIONS, type XaOptions } from './options.js';
import type { Place } from './resolve-by-witness.js';
import { isMissingTable } from './resource-manager.js';
import { ResourceManagers } from './resource-manager-registry.js';
import { SecondPhase } from './second-phase.js';
import type { Gtrid } from './xid.js';

/** A prepared branch in the database where it works. */
export interface Prepared extends Gtrid, Place {}

/** Orphans handled at once. Each may meet a lock. */
const GROUP = 8;
/** Margin on the uptime of the log's server, which counts in whole seconds. */
const UPTIME_MARGIN_MS = 2_000;
/** Minimum time between two warnings that orphans wait for an unavailable database. */
const WARN_EVERY_MS = 60_000;

/**
 * Presumed abort: a decision that is not in the log was never made. This holds only for a complete log, so ROLLBACK is
 * presumed only with this evidence:
 * - the sentinel row exists, and the newest committed branches have their decisions (see `DecisionLossCheck`)
 * - no other branch of the same transaction is committed in any database
 * - every database was asked about that, or the log's server has run since before the transaction began. In the latter
 *   case nothing can have restored the log to an earlier state.
 *
 * Without it the fault of the log is PARKED with one alert, and prepared branches stay prepared. If the process dies
 * before the ROLLBACK row is committed, the next scan of any instance starts over.
 */
@Injectable()
export class Orphans {
  private readonly logger = libraryLogger('xa recovery');
  private warnedAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly database: Database,
    private readonly resources: ResourceManagers,
    private readonly log: DecisionLog,
    private readonly decisions: Decisions,
    private readonly tail: DecisionLossCheck,
    private readonly secondPhase: SecondPhase,
    private readonly alerts: Alerts,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {}

  /** Decides on orphans of one database. An orphan older than `retentionMs` is parked for an operator. */
  async decide(orphans: readonly Prepared[]): Promise<void> {
    if (orphans.length === 0) return;
    const state = await this.compared();
    if (state === null) return;
    const isOlder = ({ startMs }: Prepared) => startMs < state.nowMs - this.options.retentionMs;
    await this.each(orphans.filter(isOlder), (one) => this.giveUp(one, 'and older than xa.retentionMs'));
    const presumable = await this.presumable(
      orphans.filter((one) => !isOlder(one)),
      state,
    );
    // guard: xa.presume
    await this.each(presumable, (orphan) => this.presume(orphan));
  }

  /** Handles the orphans in groups, in parallel. A lock or a failure on one does not delay the others. */
  private async each(orphans: readonly Prepared[], step: (one: Prepared) => Promise<void>): Promise<void> {
    for (let at = 0; at < orphans.length; at += GROUP) {
      const group = orphans.slice(at, at + GROUP);
      const ends = await Promise.allSettled(group.map(step));
      for (const [index, end] of ends.entries())
        if (end.status === 'rejected')
          this.logger.warn(`cannot decide on ${group[index]!.id}, retrying: ${textOf(end.reason)}`);
    }
  }

  /**
   * Resolves to the trust in the log after a comparison with all databases that answer, or to null without a
   * comparison. The trust is read after the comparison, because the comparison may report a fault.
   */
  private async compared(): Promise<LogState | null> {
    return (await this.tail.fresh()) ? this.log.read() : null;
  }

  /** Selects the orphans whose missing decision is evidence. */
  private async presumable(orphans: readonly Prepared[], state: LogState): Promise<readonly Prepared[]> {
    const certain = orphans.filter(({ startMs }) => startMs > state.doubtedUntilMs);
    if (certain.length === 0) return [];
    const { committed, isComplete } = await this.siblings(certain.map(({ gtrid }) => gtrid));
    // The log is read again after the witnesses: a hanging COMMIT may have ended meanwhile, and its second phase may
    // have run.
    const decided = await this.decisions.known(certain.filter(({ gtrid }) => committed.has(gtrid)).map(({ id }) => id));
    // guard: xa.half
    const half = certain.filter(({ id, gtrid }) => committed.has(gtrid) && !decided.has(id));
    const isTrusted = ({ startMs }: Prepared) => startMs < state.trustedFromMs;
    // An operator has checked the log since, and has left this branch as it is.
    await this.each(half.filter(isTrusted), (one) =>
      this.giveUp(one, `while ${committed.get(one.gtrid)} has committed its branch, and the decision is lost`),
    );
    const news = half.filter((one) => !isTrusted(one)).map(({ gtrid }) => gtrid);
    // A fault of the log concerns every transaction prepared by now, so none of them is decided.
    if (news.length > 0) {
      await this.tail.reportMissing(committed.get(news[0]!)!, news);
      return [];
    }
    // guard: xa.whole
    const whole = certain.filter(({ gtrid }) => !committed.has(gtrid));
    if (isComplete) return whole;
    const sinceMs = state.nowMs - (await this.logUptimeMs()) + UPTIME_MARGIN_MS;
    return whole.filter(({ startMs }) => startMs > sinceMs);
  }

  /**
   * Maps each gtrid with a committed branch to the database of that branch. `isComplete` if every database has
   * answered.
   */
  private async siblings(gtrids: readonly string[]): Promise<{ committed: Map<string, string>; isComplete: boolean }> {
    const committed = new Map<string, string>();
    const silent: string[] = [];
    await Promise.all(
      this.resources.branches.map(async (resource) => {
        try {
          if (!resource.isKnown) throw new Error('not open yet');
          const rows = await resource
            .ask((query) => query(COMMITTED_SQL, [gtrids]))
            .catch((error) => {
              if (isMissingTable(error)) return [];
              throw error;
            });
          for (const { gtrid } of rows) committed.set(String(gtrid), resource.name);
        } catch (error) {
          silent.push(`${resource.name} (${textOf(error)})`);
        }
      }),
    );
    if (silent.length > 0 && performance.now() - this.warnedAt > WARN_EVERY_MS) {
      this.warnedAt = performance.now();
      this.logger.warn(
        `cannot ask ${silent.join(', ')} about ${gtrids.length} prepared transactions without a decision, retrying`,
      );
    }
    return { committed, isComplete: silent.length === 0 };
  }

  private async logUptimeMs(): Promise<number> {
    const [row] = await this.database.own.query(`SHOW GLOBAL STATUS LIKE 'Uptime'`);
    return Number(row.Value) * 1_000;
  }

  /**
   * Presumes ROLLBACK for one orphan. Its row names every branch database, since the transaction may have a branch in
   * each. A branch that is not prepared yet must find its witness claimed.
   */
  private async presume({ id, gtrid, startMs, branch }: Prepared): Promise<void> {
    // Its COMMIT hangs. The next scan looks again.
    if (await this.decisions.isDecisionOpen(id)) return;
    const names = new Set([...this.resources.branches.map(({ name }) => name), branch]);
    const about = { id, gid: id, gtrid, branches: [...names].join(',') };
    try {
      const { row } = await this.decisions.presumeRollback(about, startMs);
      if (!row) return; // another instance has decided, and runs the second phase
      await failpoint(failpoints.presumed, async () => {});
      this.secondPhase.adopt(row);
    } catch (error) {
      if (!isLockWait(error)) throw error;
    }
  }

  /** Parks the orphan. Writes the row and its alert in one transaction. */
  private async giveUp({ id, gtrid, startMs, branch }: Prepared, why: string): Promise<void> {
    const error = `cannot decide on a branch that is prepared at ${branch}, ${why}; commit or roll it back by hand`;
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
