// Participant's side of step 4: a Try whose second phase does not come is told of, for its initiator may be gone.

import { Inject, Injectable, Logger, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Periodic } from '../core/async/periodic-task.js';
import { msOf } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { Alerts } from '../core/durable/alerts.js';
import { inFuture } from '../core/durable/claim.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { SCHEME } from './failpoints.js';
import { TCC_OPTIONS, type TccOptions } from './options.js';

/** How often it looks, in parts of `absentMs`. */
const LOOKS = 4;
const LOOK_EVERY_MAX_MS = 60_000;
const PAGE = 1_000;
/** Behind the gid in an alert's subject: what a call of the same transaction is told of by is another incident. */
const SUFFIX = '.try';

interface OpenTry {
  readonly gid: string;
  readonly initiator: string;
  readonly what: string;
  readonly waits_ms: number | string;
}

/**
 * The participant holds what a Try has reserved until it is told what was decided. It must not decide by itself, however
 * long that takes: all it can do is tell a person. Each row of the barrier is looked at once, when it is `absentMs` old,
 * and the alert stays open until the second phase has come.
 */
@Injectable()
export class OpenTries implements OnModuleInit, OnModuleDestroy {
  private readonly logger = new Logger('TccParticipant');
  private readonly looks: Periodic;
  /** Rows older than this were looked at; in milliseconds since the epoch by the database's clock. */
  private seenMs: number | undefined;

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    @Inject(TCC_OPTIONS) private readonly options: TccOptions,
  ) {
    const everyMs = Math.min(options.absentMs / LOOKS, LOOK_EVERY_MAX_MS);
    const failed = (error: unknown) => {
      if (!isUnavailable(error)) this.logger.error(`cannot look for open Tries: ${textOf(error)}`);
    };
    this.looks = new Periodic(everyMs, (stopping) => this.look(stopping), failed);
  }

  onModuleInit(): void {
    this.database.onReady(() => this.looks.start());
  }

  async onModuleDestroy(): Promise<void> {
    await this.looks.stop();
  }

  private async look(stopping: AbortSignal): Promise<void> {
    await this.closeOver();
    while (!stopping.aborted && (await this.lookOn()));
  }

  /** Looks at the next rows that have become old enough. False when those were all. */
  private async lookOn(): Promise<boolean> {
    const { own } = this.database;
    const since = this.seenMs ?? this.database.nowMs() - this.options.retentionMs;
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
    for (const one of open) await this.tell(one);
    // More may have the same time as the last one: it is looked at again, unless the page was no longer than that.
    const lastMs = Number(page.last_ms);
    this.seenMs = number === PAGE && lastMs > since ? lastMs : lastMs + 1;
    return number === PAGE;
  }

  private async tell({ gid, initiator, what, waits_ms: ms }: OpenTry): Promise<void> {
    const waits = `${Math.round(Number(ms) / 1_000)} s after its Try no second phase has come`;
    const lastError = `${waits}: what it has reserved stays so. See what ${initiator} has decided for ${gid}`;
    const step = `waiting for the second phase at ${what}`;
    await this.alerts.tell({ scheme: SCHEME, id: gid + SUFFIX, gid, step, lastError }, 'SILENT');
  }

  private async closeOver(): Promise<void> {
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
 * Of a Try: fewer second phases than Tries stand under its gid and branch. By number, since an instance of another version
 * may have written the one with less of its name than the other.
 */
function isOpen(row: string): string {
  return `(SELECT SUM(IF(all_of.phase = 'try', 1, -1)) FROM dtx_tcc_barrier all_of
    WHERE all_of.gid = ${row}.gid AND all_of.branch = ${row}.branch) > 0`;
}
