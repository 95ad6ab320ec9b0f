// The rows of delayed messages in the caller's transaction. If the process dies before the commit, nothing has changed.
import { clockStopped, NOW_IN_ANY_SESSION } from '../core/database/clock-sql.js';
import type { Database } from '../core/database/database.service.js';
import type { TransactionGuard } from '../core/database/guarded-transaction.js';
import { insertFirst } from '../core/database/insert-first.js';
import type { SqlValue } from '../core/database/sql-literals.js';
import { openKey } from '../core/durable/alerts.js';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { DtxError } from '../core/errors/errors.js';
import type { ContractName, DueTime, WhichMessage } from './delay.js';
import { SCHEME } from './failpoints.js';
import type { OutboxRow } from './outbox-table.js';

/**
 * The condition of a row that no process has ever claimed, so it was never sent. A claim makes it PENDING. An instance of
 * the previous version leaves SCHEDULED, but sets a token or counts an attempt.
 */
const UNTOUCHED = `m.state = 'SCHEDULED' AND m.claim_token IS NULL AND m.attempts = 0`;

/** A message as a locking read finds it. */
export interface FoundMessage {
  readonly id: string;
  readonly gid: string;
  readonly version: number;
  readonly state: string;
  readonly consumers: string;
  /** The consumers whose receipt is missing. */
  readonly awaiting: string | null;
  /** Whether it was sent so long ago that the inbox row of a consumer may be purged. */
  readonly isOld: boolean;
  readonly isDelayed: boolean;
  /** Whether receipts end its row. Otherwise the publisher confirm does, and DONE says nothing about its consumers. */
  readonly hasReceipts: boolean;
  /** Whether no process has ever claimed it. */
  readonly isUntouched: boolean;
}

/** Reads and writes rows of delayed messages on a session of the user. */
export class DelayedRows {
  /** @param inboxRetentionMs how long the inbox keeps a handled message at least, in milliseconds */
  constructor(
    private readonly database: Database,
    private readonly inboxRetentionMs: number,
  ) {}

  /** The row travels with the next statement of the caller, or with COMMIT. It has no lease, so only a scan sends it. */
  async insert(guard: TransactionGuard, row: OutboxRow, due: DueTime, name: string | undefined): Promise<void> {
    await guard.defer(
      `INSERT INTO ${this.outbox}
         (id, gid, contract, version, payload, awaiting, consumers, traceparent, route, state, next_attempt_at, created_at,
          scheduled_at, name)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'SCHEDULED', ?, ?, ?, ?)`,
      [
        row.id,
        row.gid,
        row.contract,
        row.version,
        row.payload,
        row.awaiting,
        row.consumers ?? null,
        row.traceparent,
        row.route,
        due.sql,
        due.sql,
        NOW_IN_ANY_SESSION,
        name ?? null,
      ],
      clockStopped,
    );
  }

  /** Takes a free name. While another transaction takes or frees it, the call waits. */
  takeName(guard: TransactionGuard, contract: ContractName, name: string, id: string): Promise<boolean> {
    return insertFirst(guard, this.names, { contract: contract.name, name, message_id: id });
  }

  /** Gives a name that the caller has locked to another message. */
  async moveName(guard: TransactionGuard, contract: ContractName, name: string, id: string): Promise<void> {
    await guard.query(`UPDATE ${this.names} SET message_id = ? WHERE contract = ? AND name = ?`, [
      id,
      contract.name,
      name,
    ]);
  }

  /** Withdraws a message that was never sent. Returns false if there is none, or it is too late. */
  async cancel(guard: TransactionGuard, contract: ContractName, which: WhichMessage): Promise<boolean> {
    const { tables, where, values } = this.place(contract, which);
    // guard: outbox.cancel-untouched
    const only = `${where} AND ${UNTOUCHED}`;
    const { affectedRows } = await guard.query(`UPDATE ${tables} SET ${CANCELLED} WHERE ${only}`, values);
    return affectedRows > 0;
  }

  /**
   * Ends a row whose message no consumer can handle any more, and closes its alert about missing receipts. Later neither a
   * receipt nor an operator ends the row. A parked row keeps its alert, which an operator ends.
   */
  async end(guard: TransactionGuard, id: string): Promise<void> {
    const { affectedRows } = await guard.query(
      `UPDATE ${this.outbox} m SET ${CANCELLED} WHERE m.id = ? AND m.state IN (?)`,
      [id, ['SCHEDULED', 'PENDING', 'SENT']],
    );
    if (affectedRows > 0) await this.closeAlert(guard, id);
  }

  /**
   * The caller has locked the row, so no process raises its alert meanwhile, and another session sees one that is there. An
   * UPDATE that finds none would lock a gap of a REPEATABLE READ session. No alert in that gap could then be raised before
   * the caller commits.
   */
  private async closeAlert(guard: TransactionGuard, id: string): Promise<void> {
    const key = openKey(SCHEME, id);
    const open: unknown[] = await this.database.own.query('SELECT id FROM dtx_alert WHERE open_key = ?', [key]);
    if (open.length === 0) return;
    await guard.query(
      `UPDATE ${this.database.tableIn('dtx_alert')} SET closed_at = ?, open_key = NULL WHERE open_key = ?`,
      [NOW_IN_ANY_SESSION, key],
    );
  }

  /**
   * Moves a message that was never sent. Returns false if there is none, or it is too late.
   * @throws DtxError if the clock of the session is stopped
   */
  async move(guard: TransactionGuard, contract: ContractName, which: WhichMessage, due: DueTime): Promise<boolean> {
    const { tables, where, values } = this.place(contract, which);
    const { affectedRows } = await guard.query(
      `UPDATE ${tables} SET m.next_attempt_at = ?, m.created_at = ? WHERE ${where} AND ${UNTOUCHED} AND ? IS NOT NULL`,
      [due.sql, due.sql, ...values, due.sql],
    );
    if (affectedRows > 0) return true;
    const found = await this.find(guard, contract, which);
    if (!found?.isUntouched) return false;
    const [clock]: Array<{ due: unknown }> = await guard.query('SELECT ? AS due', [due.sql]);
    // A statement that changes nothing counts no row where the connection reports changed rows.
    if (clock?.due != null) return true;
    throw new DtxError(
      'the clock of this session is stopped: the session has set the variable `timestamp`; run SET timestamp = DEFAULT',
    );
  }

  /** A locking read. The snapshot of the caller may be older than the claim of the row. */
  async find(guard: TransactionGuard, contract: ContractName, which: WhichMessage): Promise<FoundMessage | null> {
    const { tables, where, values } = this.place(contract, which);
    const [row]: Array<Record<string, unknown>> = await guard.query(
      `SELECT m.id, m.gid, m.version, m.state, m.consumers, m.awaiting, m.scheduled_at IS NOT NULL AS is_delayed,
         COALESCE(m.sent_at, m.created_at) < ${inFuture(-this.inboxRetentionMs)} AS is_old,
         m.route IS NULL AS has_receipts, ${UNTOUCHED} AS is_untouched
       FROM ${tables} WHERE ${where} FOR UPDATE`,
      values,
    );
    if (!row) return null;
    const { is_delayed, is_old, has_receipts, is_untouched, version, ...rest } = row as Record<string, string>;
    const flags = {
      isDelayed: Number(is_delayed) === 1,
      isOld: Number(is_old) === 1,
      hasReceipts: Number(has_receipts) === 1,
      isUntouched: Number(is_untouched) === 1,
    };
    return { ...rest, ...flags, version: Number(version) } as unknown as FoundMessage;
  }

  /**
   * Deletes a row that a statement of the caller committed early, since the call of the caller fails. Returns false if it
   * exists afterwards, because it was claimed or sent meanwhile.
   */
  async withdraw({ id, contract }: OutboxRow, name: string | undefined): Promise<boolean> {
    await this.database.own.query(`DELETE m FROM dtx_outbox m WHERE m.id = ? AND ${UNTOUCHED}`, [id]);
    const rows: unknown[] = await this.database.own.query('SELECT id FROM dtx_outbox WHERE id = ?', [id]);
    if (rows.length > 0) return false;
    if (name !== undefined)
      await this.database.own.query('DELETE FROM dtx_outbox_name WHERE contract = ? AND name = ? AND message_id = ?', [
        contract,
        name,
        id,
      ]);
    return true;
  }

  private place({ name: contract }: ContractName, { name, id }: WhichMessage): Place {
    if (id !== undefined)
      return { tables: `${this.outbox} m`, where: 'm.id = ? AND m.contract = ?', values: [id, contract] };
    const tables = `${this.names} n STRAIGHT_JOIN ${this.outbox} m ON m.id = n.message_id`;
    return { tables, where: 'n.contract = ? AND n.name = ?', values: [contract, name!] };
  }

  private get outbox(): string {
    return this.database.tableIn('dtx_outbox');
  }

  private get names(): string {
    return this.database.tableIn('dtx_outbox_name');
  }
}

interface Place {
  readonly tables: string;
  readonly where: string;
  readonly values: readonly SqlValue[];
}

/** Assignments of a withdrawn row. Its age counts from now, so it is purged after the retention and not after the delay. */
const CANCELLED = `m.state = 'CANCELLED', m.next_attempt_at = NULL, m.claim_token = NULL,
  m.done_at = ${NOW_IN_ANY_SESSION.sql},
  m.created_at = COALESCE(LEAST(m.created_at, ${NOW_IN_ANY_SESSION.sql}), m.created_at)`;
