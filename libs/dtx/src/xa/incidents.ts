import { Injectable } from '@nestjs/common';
import { msOf } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst, NOW, type Values } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql.js';
import { Alerts, type Incident } from '../core/durable/alerts.js';
import { NEVER_BY_ITSELF, parkedColumns } from '../core/durable/settle.js';
import { failpoint } from '../core/failpoint.js';
import { failpoints, SCHEME } from './failpoints.js';
import { LOG_GID, SENTINEL } from './xa-tables.js';
import { parseGtrid } from './xid.js';

/**
 * What can be wrong with the log itself. Each is a PARKED row of the log under an id of its own, with one alert, for as
 * long as it lasts, however many transactions it is about.
 * - `moved`: it is read from another place than it is bound to;
 * - `truncated`: its sentinel is gone, so rows are missing;
 * - `tail`: a branch has been committed by a decision that it does not have, so its end is missing;
 * - `clock`: a branch began in the future of its clock.
 */
export type LogFault = keyof typeof TEXTS;

const idOf = (fault: LogFault) => `log.${fault}`;

/** The log is somewhere else than it is bound to. */
export const MOVED = idOf('moved');

/** Faults with which the absence of a decision says nothing of what began before they were found. */
export const DOUBTS = [idOf('truncated'), idOf('tail')];

const AFTER_DOUBT =
  'Nothing that was prepared before is rolled back by itself. Compare the business of the databases, end by hand what must ' +
  'be committed (XA RECOVER lists it), then';
const confirmation = (id: string, outcome: string) => `POST /dtx/transactions/${id}/resolve {"outcome":"${outcome}"}`;

/** What a person is told: what it means, and what to do. */
const TEXTS = {
  moved: `the decision log is not where it belongs. No XA transaction is begun or recovered here. After a failover or a move: ${confirmation('log.moved', 'done')}. If this is a copy: ${confirmation('log.moved', 'reject')} gives it an id of its own. xa.deployment makes a failover known in advance`,
  truncated: `the decision log has lost rows (emptied, swept or restored). ${AFTER_DOUBT} ${confirmation('log.truncated', 'done')}: what is left then is rolled back`,
  tail: `the decision log has lost its end (restored, or a replica that lagged was promoted), or a branch was committed by hand. ${AFTER_DOUBT} ${confirmation('log.tail', 'done')}: what is left then is rolled back`,
  clock: `a prepared branch began in the future: the clock of the log's database was ahead. It is left until that time has come. To end it sooner, commit or roll it back by hand, then ${confirmation('log.clock', 'done')}`,
} as const;

/** What a fault was seen by. */
export interface Evidence {
  readonly gtrid?: string;
  readonly isStill?: (sql: Sql) => Promise<boolean>;
}

/** Reports faults of the log: durable, once each over all instances. */
@Injectable()
export class LogIncidents {
  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {}

  /**
   * Parks the fault with its one alert, unless it is there already. Repeated by the next look if the process dies before
   * the commit.
   * @param seen what was seen, in words
   * @param by `gtrid`: the transaction that it was seen by; a fault that a person has settled is not raised again for the
   *   same. `isStill`: whether it is still there, asked in the transaction that parks it: a person may have settled it since
   * @returns what a person is told
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
      step: 'believing the decision log',
      lastError: text,
    };
    const isNew = await failpoint(failpoints.doubted, () =>
      this.database.own.transaction(async (sql) => {
        // Whoever settles it, or raises it as well, has this row first.
        await sql.query('SELECT id FROM dtx_xa WHERE id = ? FOR UPDATE', [id]);
        if (!(await isStill(sql))) return false;
        // What is emptied once more is noticed once more.
        if (fault === 'truncated') await insertFirst(sql, 'dtx_xa', sentinelRow());
        const isParked = await this.park(sql, { id, gtrid, last_error: text }, seenAtMs);
        return isParked && (await this.alerts.raise(sql, incident));
      }),
    );
    if (isNew) this.alerts.announce(incident);
    return text;
  }

  /** Looked at without a lock: what is open already is seen by every instance, again and again. */
  private async isNews(id: string, gtrid: string, seenAtMs: number): Promise<boolean> {
    const select = `SELECT COUNT(*) AS open FROM dtx_xa WHERE id = ? AND NOT (${CHANGES})`;
    const [row] = await this.database.own.query(select, [id, gtrid, gtrid, seenAtMs]);
    return Number(row.open) === 0;
  }

  /**
   * True if it is open by this: it is new, was settled and has come back, is seen by a transaction that began after it was
   * found (what began before that is in doubt now), or a person has asked for another look.
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

/** Whether a fault that was found before is news now; DONE and the same is not. `next_attempt_at` is NULL in DONE. */
const CHANGES = `(state = 'DONE' AND (? = '' OR gtrid <> ?)) OR ${msOf('created_at')} < ?
  OR COALESCE(next_attempt_at < ${NEVER_BY_ITSELF}, FALSE)`;

function sentinelRow(): Values {
  return { id: SENTINEL, gid: LOG_GID, gtrid: '', branches: '-', state: 'DONE', created_at: NOW };
}
