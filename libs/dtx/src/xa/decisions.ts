// Step 3 of 5 - decisions: the log. One row per gtrid, the first writer wins, and who comes second learns what was written.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { backoffMs } from '../core/async/backoff.js';
import { withTimeout } from '../core/async/with-timeout.js';
import { NOW_MS } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst, NOW, SqlExpression } from '../core/database/insert-first.js';
import type { SqlValue } from '../core/database/literal.js';
import type { Sql } from '../core/database/sql.js';
import { Alerts } from '../core/durable/alerts.js';
import { inFuture } from '../core/durable/claim.js';
import { NEVER_BY_ITSELF, settleFinal } from '../core/durable/settle.js';
import { DtxError, OutcomeUnknown } from '../core/errors/errors.js';
import { isLockWait } from '../core/errors/sql-errors.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { SCHEME } from './failpoints.js';
import { leaseMsOf, XA_OPTIONS, type XaOptions } from './options.js';
import { type Decision, XA, type XaRow } from './xa-tables.js';
import type { Gtrid } from './xid.js';

/** What a row says beside its decision. */
export type Undecided = Pick<XaRow, 'id' | 'gid' | 'gtrid' | 'branches'>;

export interface Known {
  readonly id: string;
  readonly state: string;
}

const UNKNOWN_WAIT_MS = 3_000;

@Injectable()
export class Decisions {
  /** How long what this process decides is its own to carry out. */
  readonly leaseMs: number;
  /** Fencing token of what this process decides, already leased to itself. */
  readonly token = randomUUID();

  constructor(
    private readonly database: Database,
    private readonly alerts: Alerts,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(XA_OPTIONS) private readonly options: XaOptions,
  ) {
    this.leaseMs = leaseMsOf(core, options);
  }

  /**
   * The statement that decides to commit, for the transaction of the last resource. After the deadline, by this
   * database's own clock, the id is NULL, which no server takes: 1048, and the COMMIT behind it is never read.
   */
  commitSql(
    of: Undecided & Pick<XaRow, 'before_done'>,
    { startMs, deadlineMs }: Gtrid,
  ): { sql: string; values: SqlValue[] } {
    return {
      sql: `INSERT INTO dtx_xa (id, gid, gtrid, branches, before_done, decision, state, next_attempt_at, claim_token, created_at, decided_at)
        VALUES (IF(${NOW_MS} < ?, ?, NULL), ?, ?, ?, ?, 'COMMIT', 'COMMITTING', ${inFuture(this.leaseMs)}, ?, ?, UTC_TIMESTAMP(3))`,
      values: [deadlineMs, of.id, of.gid, of.gtrid, of.branches, of.before_done ?? 0, this.token, new Date(startMs)],
    };
  }

  /**
   * Decides to roll back, unless it was decided before; answers what stands, with the row where it is new: leased to this
   * process, for its second phase. While the transaction that may yet commit its decision is open, this throws a lock
   * wait (1205): not known, and nothing may be touched.
   */
  async presumeRollback(of: Undecided, startMs: number): Promise<{ decision: Decision | null; row?: XaRow }> {
    const { id, gid, gtrid, branches } = of;
    const decided = { decision: 'ROLLBACK', state: 'ROLLING_BACK', claim_token: this.token } as const;
    const row = { id, gid, gtrid, branches, ...decided };
    const leaseEnd = new SqlExpression(inFuture(this.leaseMs));
    const times = { next_attempt_at: leaseEnd, created_at: new Date(startMs), decided_at: NOW };
    if (await insertFirst(this.database.own, 'dtx_xa', { ...row, ...times }))
      return { decision: 'ROLLBACK', row: { ...row, attempts: 0 } };
    const rows: Array<{ decision: Decision | null }> = await this.database.own.query(
      'SELECT decision FROM dtx_xa WHERE id = ? LOCK IN SHARE MODE',
      [id],
    );
    if (!rows[0]) throw new DtxError(`the decision on ${id} was there and is gone`);
    return { decision: rows[0].decision };
  }

  /**
   * What stands about a transaction whose decision was sent and not answered: ROLLBACK is written unless something is
   * there. Null when nobody can say: its COMMIT may still be running, the log does not answer, or the recovery has given
   * it up. Then nothing may be touched.
   */
  async whatStands(of: Undecided, startMs: number): Promise<Decision | null> {
    const giveUpAt = performance.now() + UNKNOWN_WAIT_MS;
    for (let attempt = 1; ; attempt++) {
      try {
        return (await withTimeout(giveUpAt - performance.now(), this.presumeRollback(of, startMs), silent)).decision;
      } catch (unknown) {
        if (isLockWait(unknown) || performance.now() > giveUpAt) return null;
        await sleep(backoffMs(this.core.reconnect, attempt));
      }
    }
  }

  /**
   * Whether the decision on it is being written at this very moment: its row is there and not committed. Said at once: a
   * COMMIT may hang for long, and others wait to be looked at.
   */
  async isBeingDecided(id: string): Promise<boolean> {
    try {
      await this.database.own.query('SELECT id FROM dtx_xa WHERE id = ? FOR UPDATE NOWAIT', [id]);
      return false;
    } catch (error) {
      if (isLockWait(error)) return true;
      throw error;
    }
  }

  /** What the log knows of these. Not a locking read: who is not in it has to be decided on by `presumeRollback`. */
  async known(ids: readonly string[]): Promise<Map<string, Known>> {
    if (ids.length === 0) return new Map();
    const rows: Known[] = await this.database.own.query('SELECT id, state FROM dtx_xa WHERE id IN (?)', [ids]);
    return new Map(rows.map((row) => [row.id, row]));
  }

  /**
   * A branch that was believed to be over is prepared again (a server was set back), or was not known to take part (its
   * database was configured after the decision): once more, with that branch.
   * @returns false for one that is not DONE, or has come back so often that it must not again
   */
  async reopen({ id, branch }: { id: string; branch: string }): Promise<boolean> {
    const { affectedRows } = await this.database.own.query(
      `UPDATE dtx_xa SET state = IF(decision = 'COMMIT', 'COMMITTING', 'ROLLING_BACK'), attempts = attempts + 1,
         branches = IF(FIND_IN_SET(?, branches), branches, CONCAT(branches, ',', ?)), next_attempt_at = UTC_TIMESTAMP(3)
       WHERE id = ? AND state = 'DONE' AND decision IS NOT NULL AND attempts < ?`,
      [branch, branch, id, this.options.attemptsMax],
    );
    return affectedRows === 1;
  }

  /** Parks a row that is DONE again and again while its branch stays. False unless it is parked by this. */
  async parkReopened(sql: Sql, { id, error }: { id: string; error: string }): Promise<boolean> {
    const { affectedRows } = await sql.query(
      `UPDATE dtx_xa SET state = 'PARKED', next_attempt_at = ${NEVER_BY_ITSELF}, last_error = ?
       WHERE id = ? AND state = 'DONE' AND decision IS NOT NULL AND attempts >= ?`,
      [error, id, this.options.attemptsMax],
    );
    return affectedRows === 1;
  }

  /**
   * With its alert, if there is one. Not fenced by the claim: whoever saw every branch in its place knows that it is over,
   * and only forward is possible.
   */
  async markDone(ids: readonly string[]): Promise<void> {
    const { join, close } = this.alerts.closeWith({ scheme: SCHEME, id: 'm.id', when: 'TRUE' });
    await settleFinal(this.database.own, XA, {
      ids,
      join,
      also: { sql: close, values: [] },
      only: { sql: `m.state IN ('COMMITTING', 'ROLLING_BACK')`, values: [] },
    });
  }
}

function silent(): never {
  throw new OutcomeUnknown('the decision log does not answer');
}
