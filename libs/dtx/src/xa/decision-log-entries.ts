// Step 3 of 5 - decisions: one row of dtx_xa per gtrid. The first writer wins, and the second reads the existing
// decision. If the process dies before the row is committed, recovery decides ROLLBACK. After it, the decision holds
// for ever, and the second phase continues in any instance when the lease expires.
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { backoffMs } from '../core/async/backoff.js';
import { withTimeout } from '../core/async/with-timeout.js';
import { NOW, NOW_MS } from '../core/database/clock-sql.js';
import { Database } from '../core/database/database.service.js';
import { insertFirst } from '../core/database/insert-first.js';
import type { Sql } from '../core/database/sql-executor.js';
import { SqlExpression, type SqlValue } from '../core/database/sql-literals.js';
import { Alerts } from '../core/durable/alerts.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { NEVER_BY_ITSELF, settleFinal } from '../core/durable/settle-or-park.js';
import { DtxError, OutcomeUnknown } from '../core/errors/errors.js';
import { isLockWait } from '../core/errors/sql-errors.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { SCHEME } from './failpoints.js';
import { leaseMsOf, XA_OPTIONS, type XaOptions } from './options.js';
import { type Decision, XA, type XaRow } from './xa-tables.js';
import type { Gtrid } from './xid.js';

/** The columns of a new row beside its decision. */
export type Undecided = Pick<XaRow, 'id' | 'gid' | 'gtrid' | 'branches'>;

export interface LoggedDecision {
  readonly id: string;
  readonly state: string;
}

const UNKNOWN_WAIT_MS = 3_000;

@Injectable()
export class Decisions {
  /** The lease of a decision that this process makes, in milliseconds. */
  readonly leaseMs: number;
  /** The fencing token of decisions that this process makes. Their rows start out leased to it. */
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
   * The INSERT that decides to commit, for the transaction of the last resource. After the deadline, by the clock of
   * this database, the id is NULL. Every server rejects that with error 1048 and never reads the COMMIT behind it.
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
   * Decides to roll back unless a decision exists. Resolves to the decision in force. `row` is set if this call wrote
   * it, leased to this process for the second phase. While the transaction that may still commit is open, the insert
   * ends in a lock wait (1205). The decision is then unknown, and no branch may be touched.
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
    if (!rows[0])
      throw new DtxError(
        `cannot read the decision on ${id}: its row in ${this.database.names.inDatabase('dtx_xa')} was deleted meanwhile`,
      );
    return { decision: rows[0].decision };
  }

  /**
   * The decision of a transaction whose COMMIT got no answer. Writes ROLLBACK unless a row exists. Resolves to null
   * while the decision is unknown: the COMMIT may still run, the log does not answer, or recovery has parked the row.
   * No branch may then be touched.
   */
  async learnDecision(of: Undecided, startMs: number): Promise<Decision | null> {
    const giveUpAt = performance.now() + UNKNOWN_WAIT_MS;
    for (let attempt = 1; ; attempt++) {
      try {
        return (await withTimeout(giveUpAt - performance.now(), this.presumeRollback(of, startMs), logUnavailable))
          .decision;
      } catch (unknown) {
        if (isLockWait(unknown) || performance.now() > giveUpAt) return null;
        await sleep(backoffMs(this.core.reconnect, attempt));
      }
    }
  }

  /**
   * Resolves to true while an open transaction holds the row of this decision. Does not wait for the lock, since a
   * COMMIT may hang for long and would delay the other orphans.
   */
  async isDecisionOpen(id: string): Promise<boolean> {
    try {
      await this.database.own.query('SELECT id FROM dtx_xa WHERE id = ? FOR UPDATE NOWAIT', [id]);
      return false;
    } catch (error) {
      if (isLockWait(error)) return true;
      throw error;
    }
  }

  /** Reads the rows of these transactions without a lock. For a missing row only `presumeRollback` can decide. */
  async known(ids: readonly string[]): Promise<Map<string, LoggedDecision>> {
    if (ids.length === 0) return new Map();
    const rows: LoggedDecision[] = await this.database.own.query('SELECT id, state FROM dtx_xa WHERE id IN (?)', [ids]);
    return new Map(rows.map((row) => [row.id, row]));
  }

  /**
   * Sets a DONE row back to work for a branch that is prepared again. Causes: a server was restored to an earlier
   * state, or the branch's database was configured after the decision. The branch is added to the row.
   * @returns false for a row that is not DONE, or that has used up `attemptsMax`
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

  /** Parks a DONE row whose branch keeps coming back. Resolves to true if this call parked it. */
  async parkReopened(sql: Sql, { id, error }: { id: string; error: string }): Promise<boolean> {
    const { affectedRows } = await sql.query(
      `UPDATE dtx_xa SET state = 'PARKED', next_attempt_at = ${NEVER_BY_ITSELF}, last_error = ?
       WHERE id = ? AND state = 'DONE' AND decision IS NOT NULL AND attempts >= ?`,
      [error, id, this.options.attemptsMax],
    );
    return affectedRows === 1;
  }

  /**
   * Marks rows DONE and closes their alerts. Needs no claim token: all branches of the rows are known to be resolved,
   * and the decision can only go forward.
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

function logUnavailable(): never {
  throw new OutcomeUnknown('the decision log does not answer');
}
