// Participant's side of step 4: raises an alert for a Try without a second phase, since its initiator may be gone.

import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Periodic } from '../core/async/periodic-task.js';
import { msOf } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import type { Sql } from '../core/database/sql-executor.js';
import { Alerts } from '../core/durable/alerts.js';
import { BackgroundWork } from '../core/durable/background-work.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { SCHEME } from './failpoints.js';
import { TCC_OPTIONS, type TccOptions } from './options.js';

/** Checks per `absentMs`. */
const CHECKS = 4;
const CHECK_EVERY_MS_MAX = 60_000;
const PAGE = 1_000;
/** Suffix of the alert's subject, which separates it from other incidents of the same gid. */
const SUFFIX = '.try';

interface OpenTry {
  readonly gid: string;
  readonly initiator: string;
  readonly what: string;
  readonly waits_ms: number | string;
}

/**
 * A participant keeps the reservation of a Try until the second phase, and must not decide by itself. After `absentMs`
 * it can only raise an alert. Each barrier row is checked once it cannot be committed any more. The alert closes when the second phase has come, or when an
 * operator acknowledges it. If the process dies, the next one checks the rows of the whole retention again.
 */
@Injectable()
export class OpenTries implements OnModuleInit, OnModuleDestroy {
  private readonly logger = libraryLogger('tcc participant');
  private readonly checks: Periodic;
  /** Rows older than this are checked. Milliseconds since the epoch, by the database's clock. */
  private checkedUntilMs: number | undefined;
  /** A row has the time of its begin. It may be committed this much later than `absentMs` in milliseconds. */
  private readonly lateMs: number;

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    private readonly background: BackgroundWork,
    @Inject(CORE_OPTIONS) { handlerTimeoutMs, statementTimeoutMs }: CoreOptions,
    @Inject(TCC_OPTIONS) private readonly options: TccOptions,
  ) {
    this.lateMs = Math.max(0, handlerTimeoutMs + statementTimeoutMs - options.absentMs);
    const everyMs = Math.min(options.absentMs / CHECKS, CHECK_EVERY_MS_MAX);
    const failed = (error: unknown) => {
      if (!isUnavailable(error)) this.logger.error(`cannot check for open Tries, retrying: ${textOf(error)}`);
    };
    this.checks = new Periodic(everyMs, (stopping) => this.check(stopping), failed);
  }

  onModuleInit(): void {
    this.database.onReady(() => this.background.startPeriodic('open Tries', this.checks));
  }

  async onModuleDestroy(): Promise<void> {
    await this.checks.stop();
  }

  private async check(stopping: AbortSignal): Promise<void> {
    await this.closeSettled();
    if (this.checkedUntilMs !== undefined) this.checkedUntilMs -= this.lateMs;
    while (!stopping.aborted && (await this.checkNextPage()));
  }

  /** Checks the next page of rows that are old enough. Resolves to false after the last page. */
  private async checkNextPage(): Promise<boolean> {
    const { own } = this.database;
    const since = this.checkedUntilMs ?? this.database.nowMs() - this.options.retentionMs;
    const old = `created_at >= ? AND created_at < ${inFuture(-this.options.absentMs)}`;
    const next = `FROM dtx_tcc_barrier FORCE INDEX (by_age) WHERE ${old} ORDER BY created_at LIMIT ${PAGE}`;
    const [page] = await own.query(
      `SELECT COUNT(*) AS number, ${msOf('MAX(created_at)')} AS last_ms FROM (SELECT created_at ${next}) AS next`,
      [new Date(since)],
    );
    const number = Number(page.number);
    if (number === 0) return false;
    const open: OpenTry[] = await own.query(
      `SELECT gid, MAX(initiator) AS initiator,
         GROUP_CONCAT(DISTINCT participant ORDER BY participant) AS what,
         ${msOf('UTC_TIMESTAMP(3)')} - (${msOf('MIN(created_at)')}) AS waits_ms
       FROM (SELECT gid, branch, phase, op, participant, initiator, created_at ${next}) AS next
       WHERE phase = 'try' AND op = 'try' AND ${isOpen('next')} GROUP BY gid`,
      [new Date(since)],
    );
    for (const one of open) await this.alert(one);
    // More rows may share the time of the last one, so that time is read again, unless a full page has one time only.
    const lastMs = Number(page.last_ms);
    this.checkedUntilMs = number === PAGE && lastMs > since ? lastMs : lastMs + 1;
    return number === PAGE;
  }

  private async alert({ gid, initiator, what, waits_ms: ms }: OpenTry): Promise<void> {
    const waits = `no second phase for ${Math.round(Number(ms) / 1_000)} s after a Try, its reservation stays`;
    const lastError = `${waits}; check the decision of ${initiator} on ${gid}`;
    const step = `waiting for the second phase at ${what}`;
    const incident = { scheme: SCHEME, id: gid + SUFFIX, gid, step, lastError, closesBy: 'acknowledge' } as const;
    await this.alerts.tell(incident, 'SILENT', (sql) => this.isUnseen(sql, incident.id));
  }

  /** An operator has not acknowledged it. The next process would raise it again. */
  private async isUnseen(sql: Sql, id: string): Promise<boolean> {
    const seen = `SELECT id FROM dtx_alert WHERE subject_id = ? AND scheme = '${SCHEME}' AND acknowledged_at IS NOT NULL LIMIT 1`;
    const rows: unknown[] = await sql.query(seen, [id]);
    return rows.length === 0;
  }

  private async closeSettled(): Promise<void> {
    const { own } = this.database;
    const told: Array<{ id: string }> = await own.query(
      `SELECT a.subject_id AS id FROM dtx_alert a
       WHERE a.open_key LIKE '${SCHEME}:%${SUFFIX}' AND a.subject_id = CONCAT(a.gid, '${SUFFIX}') AND NOT EXISTS
         (SELECT 1 FROM dtx_tcc_barrier b WHERE b.gid = a.gid AND b.phase = 'try' AND b.op = 'try' AND ${isOpen('b')})`,
    );
    const ids = told.map(({ id }) => id);
    await this.alerts.close(own, SCHEME, ids);
  }
}

/**
 * SQL: whether a Try is open, that is, its gid and branch have fewer second phases than Tries. Rows are counted, since
 * an instance of another version may have written one of the two with a less complete name.
 */
function isOpen(row: string): string {
  return `(SELECT SUM(IF(all_of.phase = 'try', 1, -1)) FROM dtx_tcc_barrier all_of
    WHERE all_of.gid = ${row}.gid AND all_of.branch = ${row}.branch) > 0`;
}
