import type { EntityManager } from 'typeorm';
import { type Alerts, isoTime } from '../alert/alerts.js';
import type { Database } from '../database/database.service.js';
import type {
  ListQuery,
  OperationsSource,
  Resolution,
  SummaryRow,
  TimelineEntry,
  TransactionView,
} from '../operations.js';

type Row = Record<string, unknown> & { id: string; state: string; scheme?: string };

/** How a durable table shows itself to `/dtx`. */
export interface OperableTable {
  readonly table: string;
  /** The scheme of every row, or null where a column `scheme` tells. */
  readonly scheme: string | null;
  /** States that are not final; `next_attempt_at` is set in these and NULL in all others. */
  readonly openStates: readonly string[];
  /** The state a retried PARKED row goes back to, as SQL. */
  readonly retryState: string;
  what(row: Row): string;
  timeline(row: Row): TimelineEntry[];
  /** Settles a row by hand; false if the scheme has no such outcome for it. The row is locked. */
  resolve(tx: EntityManager, row: Row, outcome: 'done' | 'reject', note: string): Promise<boolean>;
  wake(): void;
}

/** The operations of one durable table, once for all: list, look, retry, resolve, summary. */
export class DurableOperations implements OperationsSource {
  constructor(
    private readonly shape: OperableTable,
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {}

  async list({ scheme, state, limit, before }: ListQuery): Promise<TransactionView[]> {
    if (this.shape.scheme && scheme && scheme !== this.shape.scheme) return [];
    const filters: string[] = [];
    const values: unknown[] = [];
    const filter = (sql: string, value: unknown) => {
      filters.push(sql);
      values.push(value);
    };
    if (state) filter('state = ?', state);
    if (scheme && !this.shape.scheme) filter('scheme = ?', scheme);
    if (before) filter('id < ?', before);
    // Open rows are few and stand together in the `due` index; everything else is read along the primary key.
    const isOpen = state !== undefined && this.shape.openStates.includes(state);
    if (isOpen) filters.push('next_attempt_at IS NOT NULL');
    const where = filters.length > 0 ? `WHERE ${filters.join(' AND ')}` : '';
    const index = isOpen ? 'FORCE INDEX (due)' : 'FORCE INDEX (PRIMARY)';
    const sql = `SELECT * FROM ${this.shape.table} ${index} ${where} ORDER BY id DESC LIMIT ${Number(limit)}`;
    const rows: Row[] = await this.database.own.query(sql, values);
    return rows.map((row) => this.view(row));
  }

  async get(id: string): Promise<(TransactionView & { timeline: TimelineEntry[] }) | null> {
    const [row]: Row[] = await this.database.own.query(`SELECT * FROM ${this.shape.table} WHERE id = ?`, [id]);
    if (!row) return null;
    const operations: Row[] = await this.database.own.query(
      'SELECT * FROM dtx_operation WHERE subject_id = ? ORDER BY id',
      [id],
    );
    const byPeople = operations.map((o) => ({
      at: isoTime(o.at)!,
      event: `${o.action} by a person${o.note ? `: ${o.note}` : ''}`,
    }));
    const incidents: Row[] = await this.database.own.query(
      'SELECT opened_at, alert_error FROM dtx_alert WHERE subject_id = ? ORDER BY id',
      [id],
    );
    const gaveUp = incidents.map((i) => ({ at: isoTime(i.opened_at)!, event: `gave up: ${i.alert_error}` }));
    const timeline = [...this.shape.timeline(row), ...gaveUp, ...byPeople].sort((a, b) => a.at.localeCompare(b.at));
    return { ...this.view(row), timeline };
  }

  async retry(id: string): Promise<Resolution> {
    return this.change(id, 'retry', undefined, async (tx, row) => {
      await tx.query(
        `UPDATE ${this.shape.table} SET state = IF(state = 'PARKED', ${this.shape.retryState}, state), attempts = 0,
           next_attempt_at = UTC_TIMESTAMP(3) WHERE id = ?`,
        [row.id],
      );
      return true;
    });
  }

  async retryAll({ scheme, state }: { scheme: string; state: string }): Promise<number> {
    if (!this.shape.openStates.includes(state)) return 0;
    let retried = 0;
    for (;;) {
      const rows = await this.list({ scheme, state, limit: 500, before: undefined });
      const due = rows.filter((row) => row.state === 'PARKED' || row.nextAttemptAt !== null);
      for (const row of due) if ((await this.retry(row.id)) === 'done') retried += 1;
      // Only PARKED rows leave their state by this, so only they can be taken in rounds.
      if (rows.length < 500 || state !== 'PARKED') return retried;
    }
  }

  async resolve(id: string, outcome: 'done' | 'reject', note: string): Promise<Resolution> {
    return this.change(id, outcome, note, (tx, row) => this.shape.resolve(tx, row, outcome, note));
  }

  async summary(): Promise<SummaryRow[]> {
    const scheme = this.shape.scheme ? `'${this.shape.scheme}'` : 'scheme';
    const rows: Row[] = await this.database.own.query(
      `SELECT ${scheme} AS scheme, state, COUNT(*) AS n,
       TIMESTAMPDIFF(MICROSECOND, MIN(next_attempt_at), UTC_TIMESTAMP(3)) / 1000 AS age
       FROM ${this.shape.table} FORCE INDEX (due) WHERE next_attempt_at IS NOT NULL GROUP BY 1, 2`,
    );
    const schemes = new Set([
      ...(this.shape.scheme ? [this.shape.scheme] : []),
      ...rows.map((row) => String(row.scheme)),
    ]);
    return [...schemes].map((name) =>
      summaryRow(
        name,
        this.shape.table,
        rows.filter((row) => row.scheme === name),
      ),
    );
  }

  /** Lock, act, close the incident, write down who-did-what: one transaction. Two people at once take turns. */
  private async change(
    id: string,
    action: string,
    note: string | undefined,
    act: (tx: EntityManager, row: Row) => Promise<boolean>,
  ): Promise<Resolution> {
    // On the app's own pool: a refusal path is business and may use the app's entities.
    const result = await this.database.source.transaction(async (tx): Promise<Resolution> => {
      const [row]: Row[] = await tx.query(`SELECT * FROM ${this.shape.table} WHERE id = ? FOR UPDATE`, [id]);
      if (!row) return 'unknown-id';
      if (!this.shape.openStates.includes(row.state) || !(await act(tx, row))) return 'not-possible';
      const scheme = this.shape.scheme ?? String(row.scheme);
      await this.alerts.close(tx, scheme, [id]);
      await this.alerts.recordOperation(tx, { scheme, id, action, ...(note === undefined ? {} : { note }) });
      return 'done';
    });
    if (result === 'done') this.shape.wake();
    return result;
  }

  private view(row: Row): TransactionView {
    return {
      id: row.id,
      gid: (row.gid as string | null) ?? null,
      scheme: this.shape.scheme ?? String(row.scheme),
      what: this.shape.what(row),
      state: row.state,
      attempts: Number(row.attempts),
      nextAttemptAt: row.state === 'PARKED' ? null : isoTime(row.next_attempt_at),
      lastError: (row.last_error as string | null) ?? null,
      createdAt: isoTime(row.created_at)!,
    };
  }
}

function summaryRow(scheme: string, source: string, rows: Row[]): SummaryRow {
  const states = Object.fromEntries(rows.map((row) => [row.state, Number(row.n)]));
  const ages = rows.filter((row) => row.state !== 'PARKED').map((row) => Number(row.age));
  const oldest = Math.max(...ages, Number.NEGATIVE_INFINITY);
  return { scheme, source, states, parked: states.PARKED ?? 0, oldestDueMs: oldest > 0 ? Math.round(oldest) : null };
}
