import { Injectable } from '@nestjs/common';
import { msOf, NOW } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst, type Values } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql-executor.js';
import { Alerts, type Incident } from '../core/durable/alerts.js';
import { NEVER_BY_ITSELF, parkedColumns } from '../core/durable/settle-or-park.js';
import { failpoint } from '../core/failpoint.js';
import { failpoints, SCHEME } from './failpoints.js';
import { LOG_GID, SENTINEL } from './xa-tables.js';
import { parseGtrid } from './xid.js';

/**
 * Faults of the decision log itself. Each is one PARKED row of `dtx_xa` under an id of its own, with one alert, while
 * it lasts.
 * - `moved`: the log is read from another place than it is bound to.
 * - `truncated`: the sentinel row is gone, so rows are missing.
 * - `tail`: a branch was committed by a decision that the log lacks, so the newest rows are missing.
 * - `clock`: a branch began in the future of the log's clock.
 */
export type LogFault = keyof typeof TEXTS;

const idOf = (fault: LogFault) => `log.${fault}`;

/** The log is read from another place than it is bound to. */
export const MOVED = idOf('moved');

/** Faults with which a missing decision proves nothing about transactions that began before the fault was found. */
export const DOUBTS = [idOf('truncated'), idOf('tail')];

const AFTER_DOUBT =
  'Recovery does not roll back branches that were prepared before. Compare the business of the databases. Commit by hand ' +
  'the branches that must be committed (XA RECOVER lists them), then';
const confirmation = (id: string, outcome: string) => `POST /dtx/transactions/${id}/resolve {"outcome":"${outcome}"}`;

/** The alert texts: the meaning of the fault and the steps for the operator. */
const TEXTS = {
  moved: `the decision log is not where it belongs. No XA transaction begins or is recovered here. After a failover or a move: ${confirmation('log.moved', 'done')}. If this is a copy: ${confirmation('log.moved', 'reject')} gives it an id of its own. The option xa.deployment makes a failover known in advance`,
  truncated: `the decision log has lost rows (emptied, swept or restored). ${AFTER_DOUBT} ${confirmation('log.truncated', 'done')}. Recovery then rolls back the rest`,
  tail: `the decision log has lost its newest rows (restored, or a lagging replica was promoted), or a branch was committed by hand. Complete or undo by hand the transactions that the branches have committed. ${AFTER_DOUBT} ${confirmation('log.tail', 'done')}. Recovery then rolls back the rest`,
  clock: `a prepared branch began in the future: the clock of the log's database was ahead. Recovery waits until that time. To end it sooner, commit or roll it back by hand, then ${confirmation('log.clock', 'done')}`,
} as const;

/** The observation that revealed a fault. */
export interface Evidence {
  readonly gtrid?: string;
  readonly isStill?: (sql: Sql) => Promise<boolean>;
}

/** Reports faults of the log, durably and once over all instances. */
@Injectable()
export class LogIncidents {
  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {}

  /**
   * Parks the fault with its one alert, unless it is open already. If the process dies before the commit, the next
   * check reports it again.
   * @param seen the observation, in words
   * @param by `gtrid`: the transaction that revealed the fault. A fault that an operator resolved is not raised again
   *   for the same gtrid. `isStill`: repeats the check in the transaction that parks, since an operator may have
   *   resolved it meanwhile.
   * @returns the text of the alert
   */
  async raise(
    fault: LogFault,
    seen: string,
    { gtrid = '', isStill = async () => true }: Evidence = {},
  ): Promise<string> {
    const text = `${TEXTS[fault]}. Seen: ${seen}`;
    const id = idOf(fault);
    const seenAtMs = DOUBTS.includes(id) ? (parseGtrid(gtrid)?.startMs ?? Number.MAX_SAFE_INTEGER) : 0;
    if (!(await this.isNews(id, gtrid, seenAtMs))) return text;
    const incident: Incident = {
      scheme: SCHEME,
      id,
      gid: LOG_GID,
      step: 'checking the decision log',
      lastError: text,
    };
    const isNew = await failpoint(failpoints.doubted, () =>
      this.database.own.transaction(async (sql) => {
        // Locks the row against other instances and operators that raise or resolve the same fault.
        await sql.query('SELECT id FROM dtx_xa WHERE id = ? FOR UPDATE', [id]);
        if (!(await isStill(sql))) return false;
        // A new sentinel, so that a second loss is detected too.
        if (fault === 'truncated') await insertFirst(sql, 'dtx_xa', sentinelRow());
        const isParked = await this.park(sql, { id, gtrid, last_error: text }, seenAtMs);
        return isParked && (await this.alerts.raise(sql, incident));
      }),
    );
    if (isNew) this.alerts.announce(incident);
    return text;
  }

  /** Reads without a lock, since every instance sees an open fault at every check. */
  private async isNews(id: string, gtrid: string, seenAtMs: number): Promise<boolean> {
    const select = `SELECT COUNT(*) AS open FROM dtx_xa WHERE id = ? AND NOT (${CHANGES})`;
    const [row] = await this.database.own.query(select, [id, gtrid, gtrid, seenAtMs]);
    return Number(row.open) === 0;
  }

  /**
   * Resolves to true if this call opened the fault. Cases: it is new, it came back after a resolution, or an operator
   * asked for another check. Or a transaction that began after the fault was found has revealed it, so what began
   * before is in doubt too.
   */
  private async park(
    sql: Sql,
    { id, gtrid, last_error }: { id: string; gtrid: string; last_error: string },
    seenAtMs: number,
  ): Promise<boolean> {
    const row = { id, gid: LOG_GID, gtrid, branches: '-', ...parkedColumns(last_error) };
    if (await insertFirst(sql, 'dtx_xa', { ...row, created_at: NOW })) return true;
    const { affectedRows } = await sql.query(
      `UPDATE dtx_xa SET state = 'PARKED', gtrid = ?, last_error = ?, next_attempt_at = ${NEVER_BY_ITSELF},
         claim_token = NULL, created_at = UTC_TIMESTAMP(3), done_at = NULL
       WHERE id = ? AND (${CHANGES})`,
      [gtrid, last_error, id, gtrid, gtrid, seenAtMs],
    );
    return affectedRows === 1;
  }
}

/**
 * Whether a known fault has to be opened again. A DONE row with the same gtrid stays DONE. `next_attempt_at` is NULL in
 * DONE.
 */
const CHANGES = `(state = 'DONE' AND (? = '' OR gtrid <> ?)) OR ${msOf('created_at')} < ?
  OR COALESCE(next_attempt_at < ${NEVER_BY_ITSELF}, FALSE)`;

function sentinelRow(): Values {
  return { id: SENTINEL, gid: LOG_GID, gtrid: '', branches: '-', state: 'DONE', created_at: NOW };
}
