import { Inject, Injectable, Logger, OnModuleInit } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import { insertFirst, NOW } from '../database/insert-first.js';
import type { Sql } from '../database/sql.js';
import type { CoreOptions } from '../options.js';
import { measure } from '../telemetry.js';
import { CORE_OPTIONS } from '../tokens.js';
import { alertMigrations } from './alert-table.js';
import type { Condition } from './durable-table.js';
import type { Word } from './operations.js';

/** Something gave up and waits for a person. */
export interface Incident {
  readonly scheme: string;
  /** Id of the row that is parked, as `/dtx/transactions/{id}` takes it. */
  readonly id: string;
  readonly gid: string | null;
  /** What it was doing when it gave up. */
  readonly step: string;
  readonly lastError: string;
}

export interface AlertView {
  id: string;
  scheme: string;
  subject: string;
  gid: string | null;
  step: string;
  lastError: string | null;
  retry: string;
  openedAt: string;
  acknowledgedAt: string | null;
  closedAt: string | null;
}

/**
 * One alert per incident (seed: 报警由人工来回滚和补偿): a row under a unique key, written in the transaction that parks.
 * Log and webhook are told after the commit; a dead webhook delays nothing and is tried again from the row.
 */
@Injectable()
export class Alerts implements OnModuleInit {
  private readonly logger = new Logger('Alert');

  constructor(
    private readonly database: Database,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  onModuleInit(): void {
    this.database.addMigrations('dtx-alert', alertMigrations);
  }

  /**
   * Opens the incident's alert in the transaction that parks its row. Repeated while it is open, it does nothing and gives
   * false: then there is nothing to announce.
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
      opened_at: NOW,
    });
  }

  /**
   * Opens and announces the alert of work that goes on, in a transaction of its own.
   * @param isStill looks once more, under a lock, whether it is as it was seen: an alert on what is over would never close
   */
  async tell(
    incident: Incident,
    what: 'OPEN' | 'SILENT',
    isStill: (sql: Sql) => Promise<boolean> = async () => true,
  ): Promise<void> {
    const isNew = await this.database.own.transaction(async (sql) => (await isStill(sql)) && this.raise(sql, incident));
    if (isNew) this.announce(incident, what);
  }

  /** Tells the log, after the commit. `OPEN`: the work goes on, and a person has to see to a part of it. `SILENT`:
   * it goes on, and nobody has said anything for too long; the alert closes when it is done. */
  announce(incident: Incident, what: 'PARKED' | 'OPEN' | 'SILENT' = 'PARKED'): void {
    const { scheme, id, gid, step, lastError } = incident;
    if (what === 'PARKED') measure('parked', { scheme });
    this.logger.error(
      `${what} ${scheme} ${id} (gid ${gid ?? '-'}) at ${step}: ${lastError}; retry with ${retryCall(id)}`,
    );
  }

  /** Closes the incident: it was retried or settled, so a new giving-up is a new incident. */
  async close(sql: Sql, scheme: string, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    await sql.query('UPDATE dtx_alert SET closed_at = UTC_TIMESTAMP(3), open_key = NULL WHERE open_key IN (?)', [
      ids.map((id) => openKey(scheme, id)),
    ]);
  }

  /**
   * The same as a part of an UPDATE of the rows themselves, joined to their open alerts as `a`: closed where the condition
   * holds, which is in `close` twice.
   */
  closeWith({ scheme, id, when }: { scheme: string; id: string; when: string }): { join: Condition; close: string } {
    const join = { sql: `LEFT JOIN dtx_alert a ON a.open_key = CONCAT(?, ${id})`, values: [openKey(scheme, '')] };
    const close = `a.closed_at = IF(${when}, UTC_TIMESTAMP(3), a.closed_at), a.open_key = IF(${when}, NULL, a.open_key)`;
    return { join, close };
  }

  /** Newest first. */
  async list(limit: number): Promise<AlertView[]> {
    const rows = await this.database.own.query(`${SELECT} ORDER BY id DESC LIMIT ${Number(limit)}`);
    return rows.map(view);
  }

  /** Somebody has seen it. Returns null for an unknown id; a second time changes nothing. */
  async acknowledge(id: string, word: Word): Promise<AlertView | null> {
    return this.database.own.transaction(async (sql) => {
      const { affectedRows } = await sql.query(
        'UPDATE dtx_alert SET acknowledged_at = UTC_TIMESTAMP(3) WHERE id = ? AND acknowledged_at IS NULL',
        [id],
      );
      const [row] = await sql.query(`${SELECT} WHERE id = ?`, [id]);
      if (!row) return null;
      const { scheme, subject_id: subject } = row;
      if (affectedRows === 1) await this.recordOperation(sql, { scheme, id: subject, action: 'acknowledge', ...word });
      return view(row);
    });
  }

  /** Writes down who did what, when and why, in the transaction that does it. */
  async recordOperation(
    sql: Sql,
    { scheme, id, action, by, note }: Word & { scheme: string; id: string; action: string },
  ): Promise<void> {
    await sql.query(
      `INSERT INTO dtx_operation (id, scheme, subject_id, action, operator, note, at)
       VALUES (?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(3))`,
      [this.database.newId(), scheme, id, action, by ?? null, note ?? null],
    );
  }
}

const SELECT = `SELECT id, scheme, subject_id, gid, step, alert_error, opened_at, acknowledged_at, closed_at FROM dtx_alert`;

function view(row: Record<string, string | Date | null>): AlertView {
  return {
    id: String(row.id),
    scheme: String(row.scheme),
    subject: String(row.subject_id),
    gid: row.gid as string | null,
    step: String(row.step),
    lastError: row.alert_error as string | null,
    retry: retryCall(String(row.subject_id)),
    openedAt: isoTime(row.opened_at)!,
    acknowledgedAt: isoTime(row.acknowledged_at),
    closedAt: isoTime(row.closed_at),
  };
}

/** A DATETIME column as ISO 8601 in UTC, whether the driver gives a Date or, by `dateStrings`, text. */
export function isoTime(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (value instanceof Date) return value.toISOString();
  return new Date(`${String(value).replace(' ', 'T')}Z`).toISOString();
}

function openKey(scheme: string, id: string): string {
  return `${scheme}:${id}`;
}

function retryCall(id: string): string {
  return `POST /dtx/transactions/${id}/retry`;
}
