import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import { NOW } from '../database/clock-sql.js';
import { Database } from '../database/database.service.js';
import { insertFirst, type SqlStatement } from '../database/insert-first.js';
import type { Sql } from '../database/sql-executor.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import { libraryLogger } from '../library-logger.js';
import type { CoreOptions } from '../options.js';
import { emit } from '../telemetry-events.js';
import { alertMigrations } from './alert-and-operation-tables.js';
import type { Condition, DurableTable } from './durable-table.js';
import type { OperatorNote } from './operations-registry.js';

/**
 * How an alert closes. `retry`: a retry or a resolution of its row, or the end of the work. `acknowledge`: an operator
 * acknowledges it, since this app has no row of it to retry. `itself`: the watch that raised it sees the end.
 */
export type ClosesBy = 'retry' | 'acknowledge' | 'itself';

/** Parked or neglected work that waits for an operator. */
export interface Incident {
  readonly scheme: string;
  /** The id of the affected row, as in `/dtx/transactions/{id}`. Another subject if the alert does not close by a retry. */
  readonly id: string;
  readonly gid: string | null;
  /** The step that failed. */
  readonly step: string;
  readonly lastError: string;
  /** `retry` by default. */
  readonly closesBy?: ClosesBy;
}

/** An alert as `/dtx/alerts` shows it. Times are ISO 8601 in UTC. */
export interface AlertView {
  id: string;
  scheme: string;
  subject: string;
  gid: string | null;
  step: string;
  lastError: string | null;
  /** The call that retries the row. Null if the alert does not close by a retry. */
  retry: string | null;
  closesBy: ClosesBy;
  openedAt: string;
  acknowledgedAt: string | null;
  closedAt: string | null;
}

/**
 * Raises one alert per incident: a row under a unique key, written in the transaction that parks. Log and webhook
 * follow after the commit. If the process dies in between, the log line is missing and the webhook is called from the
 * row.
 * @example
 *   const incident = { scheme: 'refund', id: orderId, gid: null, step: 'refund', lastError: 'no answer' };
 *   await this.alerts.tell({ ...incident, closesBy: 'acknowledge' }, 'OPEN');
 */
@Injectable()
export class Alerts implements OnModuleInit {
  private readonly logger = libraryLogger('alert');

  /** @internal */
  constructor(
    private readonly database: Database,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  onModuleInit(): void {
    this.database.addMigrations('dtx-alert', alertMigrations);
  }

  /**
   * Opens the alert of an incident in the transaction that parks its row. Returns false if the alert is already open.
   * The caller then announces nothing.
   */
  async raise(sql: Sql, incident: Incident): Promise<boolean> {
    return insertFirst(sql, 'dtx_alert', {
      id: this.database.newId(),
      open_key: openKey(incident.scheme, incident.id),
      scheme: incident.scheme,
      subject_id: incident.id,
      gid: incident.gid,
      step: incident.step.slice(0, 200),
      alert_error: incident.lastError.slice(0, 4_000),
      state: this.options.alertWebhook ? 'PENDING' : 'LOGGED',
      next_attempt_at: this.options.alertWebhook ? NOW : null,
      closes_by: incident.closesBy ?? 'retry',
      opened_at: NOW,
    });
  }

  /**
   * Opens and announces the alert of work that goes on, in a transaction of its own.
   * @param isStill checks the incident again under a lock. An alert for a finished incident would never close.
   */
  async tell(
    incident: Incident,
    what: 'OPEN' | 'SILENT',
    isStill: (sql: Sql) => Promise<boolean> = async () => true,
  ): Promise<void> {
    const isNew = await this.database.own.transaction(async (sql) => (await isStill(sql)) && this.raise(sql, incident));
    if (isNew) this.announce(incident, what);
  }

  /**
   * Logs the alert after the commit. `OPEN`: the work goes on and an operator must handle a part of it. `SILENT`: the
   * work goes on without an answer for too long. The alert closes when the work is done. `REFUSED`: a call violates the
   * protocol, and no row is parked here.
   */
  announce(incident: Incident, what: 'PARKED' | 'OPEN' | 'SILENT' | 'REFUSED' = 'PARKED'): void {
    const { scheme, id, gid, step, lastError, closesBy = 'retry' } = incident;
    if (what === 'PARKED') emit('parked', { scheme, id, gid });
    this.logger.error(`${what} ${scheme} ${id} (gid ${gid ?? '-'}) at ${step}: ${lastError}; ${HOW[closesBy](id)}`);
  }

  /** Closes the alert of a retried or resolved incident. A later failure is a new incident. */
  async close(sql: Sql, scheme: string, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    await sql.query('UPDATE dtx_alert SET closed_at = UTC_TIMESTAMP(3), open_key = NULL WHERE open_key IN (?)', [
      ids.map((id) => openKey(scheme, id)),
    ]);
  }

  /** Closes alerts as a part of an UPDATE of rows, joined to them as `a`. `close` contains the condition twice. */
  closeWith({ scheme, id, when }: { scheme: string; id: string; when: string }): { join: Condition; close: string } {
    const join = { sql: `LEFT JOIN dtx_alert a ON a.open_key = CONCAT(?, ${id})`, values: [openKey(scheme, '')] };
    const close = `a.closed_at = IF(${when}, UTC_TIMESTAMP(3), a.closed_at), a.open_key = IF(${when}, NULL, a.open_key)`;
    return { join, close };
  }

  /** The alerts of one global transaction, oldest first, by their index. At most `limit`. */
  async ofGid(sql: Sql, gid: string, limit: number): Promise<AlertView[]> {
    return (await sql.query(`${SELECT} WHERE gid = ? ORDER BY id LIMIT ${Number(limit)}`, [gid])).map(view);
  }

  /** Lists alerts, newest first. `isOpen` lists open ones only, by their index. Ids are ordered by time. */
  async list({ limit, before, isOpen }: AlertQuery): Promise<AlertView[]> {
    const filters = [...(isOpen ? ['closed_at IS NULL'] : []), ...(before ? ['id < ?'] : [])];
    const rows = await this.database.reads.query(
      `${SELECT} FORCE INDEX (${isOpen ? 'by_closing' : 'PRIMARY'}) ${filters.length > 0 ? `WHERE ${filters.join(' AND ')}` : ''}
       ORDER BY id DESC LIMIT ${Number(limit)}`,
      before ? [before] : [],
    );
    return rows.map(view);
  }

  /**
   * Acknowledges an alert, and closes it if it closes by that. Returns null for an unknown id. A repeated call changes
   * nothing.
   */
  async acknowledge(id: string, operator: OperatorNote): Promise<AlertView | null> {
    return this.database.own.transaction(async (sql) => {
      const { affectedRows } = await sql.query(
        `UPDATE dtx_alert SET acknowledged_at = UTC_TIMESTAMP(3),
           closed_at = IF(closes_by = 'acknowledge', COALESCE(closed_at, UTC_TIMESTAMP(3)), closed_at),
           open_key = IF(closes_by = 'acknowledge', NULL, open_key) WHERE id = ? AND acknowledged_at IS NULL`,
        [id],
      );
      const [row] = await sql.query(`${SELECT} WHERE id = ?`, [id]);
      if (!row) return null;
      const { scheme, subject_id: subject } = row;
      if (affectedRows === 1)
        await this.recordOperation(sql, { scheme, id: subject, action: 'acknowledge', ...operator });
      return view(row);
    });
  }

  /** Records an operator action, in the transaction of the action. */
  async recordOperation(sql: Sql, { id, ...action }: OperatorAction & { id: string }): Promise<void> {
    await this.recordOperations(sql, action, [id]);
  }

  /** Records one action on many rows of a scheme. */
  async recordOperations(sql: Sql, action: OperatorAction, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    const { scheme, action: name, by = null, note = null } = action;
    const rows = ids.map(() => '(?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(3))').join(', ');
    await sql.query(
      `INSERT INTO dtx_operation (id, scheme, subject_id, action, operator, note, at) VALUES ${rows}`,
      ids.flatMap((id) => [this.database.newId(), scheme, id, name, by, note]),
    );
  }
}

/** An action of an operator on rows of one scheme. */
export interface OperatorAction extends OperatorNote {
  readonly scheme: string;
  readonly action: string;
}

export interface AlertQuery {
  readonly limit: number;
  /** Lists only alerts that sort below this id. */
  readonly before?: string | undefined;
  readonly isOpen?: boolean | undefined;
}

const SELECT = `SELECT id, scheme, subject_id, gid, step, alert_error, closes_by, opened_at, acknowledged_at, closed_at
  FROM dtx_alert`;

/** The last part of the log line: how the alert closes. */
const HOW: Record<ClosesBy, (id: string) => string> = {
  retry: (id) => `retry with ${retryCall(id)}`,
  acknowledge: () => 'close the alert with POST /dtx/alerts/{id}/acknowledge',
  itself: () => 'the alert closes when this ends',
};

function view(row: Record<string, string | Date | null>): AlertView {
  return {
    id: String(row.id),
    scheme: String(row.scheme),
    subject: String(row.subject_id),
    gid: row.gid as string | null,
    step: String(row.step),
    lastError: row.alert_error as string | null,
    retry: row.closes_by === 'retry' ? retryCall(String(row.subject_id)) : null,
    closesBy: row.closes_by as ClosesBy,
    openedAt: isoTime(row.opened_at)!,
    acknowledgedAt: isoTime(row.acknowledged_at),
    closedAt: isoTime(row.closed_at),
  };
}

/** Converts a DATETIME column to ISO 8601 in UTC, from a Date or from text (`dateStrings`). */
export function isoTime(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (value instanceof Date) return value.toISOString();
  return new Date(`${String(value).replace(' ', 'T')}Z`).toISOString();
}

/**
 * Closes the alerts of those rows that have ended. The caller repeats it until it has run. An id without a row may be that of
 * an alert of another table, since a receipt can name any id. Such an alert stays open.
 */
export function closingOfEnded(of: { scheme: string; table: DurableTable; ids: readonly string[] }): SqlStatement {
  const state = `(SELECT m.state FROM ${of.table.name} m WHERE m.id = a.subject_id)`;
  const set = 'SET a.closed_at = UTC_TIMESTAMP(3), a.open_key = NULL';
  const values = [of.ids.map((id) => openKey(of.scheme, id)), [...of.table.openStates]];
  return { statement: `UPDATE dtx_alert a ${set} WHERE a.open_key IN (?) AND ${state} NOT IN (?)`, values };
}

/** The unique key of an open alert. */
export function openKey(scheme: string, id: string): string {
  return `${scheme}:${id}`;
}

/** The call that retries a row. */
export function retryCall(id: string): string {
  return `POST /dtx/transactions/${id}/retry`;
}
