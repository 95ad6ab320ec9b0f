import type { EntityManager } from 'typeorm';
import type { Database } from '../database/database.service.js';
import type { SqlValue } from '../database/literal.js';
import { type Sql } from '../database/sql.js';
import { sqlOf } from '../database/sql-of.js';
import { isLockWait } from '../errors/sql-errors.js';
import { type Alerts, isoTime } from './alerts.js';
import type { DurableRow, DurableTable, Moment, ShownTable, TableRow } from './durable-table.js';
import type { DurableWork, Outcome } from './durable-work.js';
import type {
  ListPage,
  ListQuery,
  OperationsSource,
  OperatorNote,
  Resolution,
  SingleView,
  SummaryRow,
  TimelineEntry,
  TransactionView,
} from './operations.js';
import { settleFinal } from './settle.js';

type Row = TableRow;

/** A condition with its value. */
type Filter = readonly [sql: string, value: string];
const whereOf = (filters: readonly Filter[]) =>
  filters.length > 0 ? `WHERE ${filters.map(([sql]) => sql).join(' AND ')}` : '';
const valuesOf = (filters: readonly Filter[]) => filters.map(([, value]) => value);

/** The number of rows that one list call searches if no index fits the filter. */
const STRETCH_ROWS = 5_000;
const RETRIED_AT_ONCE = 500;

/** A table, as operators work on it. */
interface Operable {
  readonly table: DurableTable;
  readonly shown: ShownTable;
  readonly resolve?: DurableWork<DurableRow>['resolve'];
  wake(): void;
}

/**
 * The operations of any durable table: list, get, retry, resolve, summary. If the process dies in an action, its transaction
 * is rolled back. If it dies after the commit, the scan of any instance finds the row due.
 */
export class TableOperations implements OperationsSource {
  constructor(
    private readonly of: Operable,
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {}

  async list({ scheme, state, limit, before }: ListQuery): Promise<ListPage> {
    if (this.of.shown.scheme && scheme && scheme !== this.of.shown.scheme) return { items: [], through: null };
    const filters: Filter[] = [];
    if (state) filters.push(['state = ?', state]);
    if (scheme && !this.of.shown.scheme) filters.push(['scheme = ?', scheme]);
    const top = before ?? this.of.shown.below;
    const from: Filter[] = top ? [['id < ?', top]] : [];
    // Open rows are few and adjacent in the index `due`. Everything else is read along the primary key.
    const isOpen = state !== undefined && this.of.table.openStates.includes(state);
    if (isOpen) {
      const where = `${whereOf([...filters, ...from])} AND next_attempt_at IS NOT NULL`;
      // The index selects the ids, so that only the listed rows are read.
      const found: Row[] = await this.database.reads.query(
        `SELECT id FROM ${this.of.table.name} FORCE INDEX (due) ${where} ORDER BY id DESC LIMIT ${Number(limit)}`,
        valuesOf([...filters, ...from]),
      );
      return { items: await this.these(found), through: null };
    }
    if (filters.length > 0) return this.stretch(filters, from, limit);
    return { items: await this.rows(whereOf(from), valuesOf(from), limit), through: null };
  }

  /** Searches the next rows. A rare match must not read millions of rows in one call. */
  private async stretch(filters: readonly Filter[], from: readonly Filter[], limit: number): Promise<ListPage> {
    const { table, shown } = this.of;
    const source = `FROM ${table.name} FORCE INDEX (PRIMARY) ${whereOf(from)} ORDER BY id DESC`;
    const [last]: Row[] = await this.database.reads.query(
      `SELECT id ${source} LIMIT 1 OFFSET ${STRETCH_ROWS - 1}`,
      valuesOf(from),
    );
    const found: Row[] = await this.database.reads.query(
      `SELECT id FROM (SELECT id, state${shown.scheme ? '' : ', scheme'} ${source} LIMIT ${STRETCH_ROWS}) AS stretch
       ${whereOf(filters)} ORDER BY id DESC LIMIT ${Number(limit)}`,
      [...valuesOf(from), ...valuesOf(filters)],
    );
    return { items: await this.these(found), through: last?.id ?? null };
  }

  private async these(found: readonly Row[]): Promise<TransactionView[]> {
    const ids = found.map((row) => row.id);
    return ids.length === 0 ? [] : this.rows('WHERE id IN (?)', [ids], ids.length);
  }

  private async rows(where: string, values: readonly SqlValue[], limit: number): Promise<TransactionView[]> {
    const sql = `SELECT * FROM ${this.of.table.name} FORCE INDEX (PRIMARY) ${where} ORDER BY id DESC LIMIT ${Number(limit)}`;
    const rows: Row[] = await this.database.reads.query(sql, values);
    return rows.map((row) => this.view(row));
  }

  async get(id: string): Promise<SingleView | null> {
    const [row]: Row[] = await this.database.reads.query(`SELECT * FROM ${this.of.table.name} WHERE id = ?`, [id]);
    if (!row) return null;
    // Ids are unique only within a scheme, because callers may choose equal ids.
    const scheme = this.of.shown.scheme ?? String(row.scheme);
    const operations: Row[] = await this.database.reads.query(
      'SELECT * FROM dtx_operation WHERE subject_id = ? AND scheme = ? ORDER BY id',
      [id, scheme],
    );
    const byPeople = operations.map((o) => ({
      at: isoTime(o.at)!,
      event: `${o.action} by ${o.operator ?? 'an unnamed operator'}${o.note ? `: ${o.note}` : ''}`,
    }));
    const incidents: Row[] = await this.database.reads.query(
      'SELECT opened_at, alert_error FROM dtx_alert WHERE subject_id = ? AND scheme = ? ORDER BY id',
      [id, scheme],
    );
    const gaveUp = incidents.map((i) => ({ at: isoTime(i.opened_at)!, event: `gave up: ${i.alert_error}` }));
    const timeline = [...timelineOf(this.of.shown.moments(row)), ...gaveUp, ...byPeople].sort((a, b) =>
      a.at.localeCompare(b.at),
    );
    const details = await this.of.shown.details?.(this.database.reads, row);
    return { ...this.view(row), timeline, ...(details && { details }) };
  }

  async retry(id: string, operator: OperatorNote): Promise<Resolution> {
    return this.change(id, { ...operator, action: 'retry' }, async (tx, row) => {
      // The retry fences out a running attempt. Its result would overwrite the retry of the operator.
      await sqlOf(tx).query(
        `UPDATE ${this.of.table.name} SET state = IF(state = 'PARKED', ${this.of.shown.retryState}, state), attempts = 0,
           claim_token = NULL, next_attempt_at = UTC_TIMESTAMP(3) WHERE id = ?`,
        [row.id],
      );
      return true;
    });
  }

  async retryAll({ scheme, state }: { scheme: string; state: string }, operator: OperatorNote): Promise<number> {
    if (!this.of.table.openStates.includes(state)) return 0;
    let retried = 0;
    let before: string | undefined;
    // One pass through the list. Rows that are parked again meanwhile are not retried again.
    for (;;) {
      const { items } = await this.list({ scheme, state, limit: RETRIED_AT_ONCE, before });
      for (const { id } of items) if (await this.retryUnlocked(id, operator)) retried += 1;
      if (items.length < RETRIED_AT_ONCE) return retried;
      before = items.at(-1)!.id;
    }
  }

  /** Retries one of many rows. A row that stays locked for the whole lock wait is skipped. */
  private async retryUnlocked(id: string, operator: OperatorNote): Promise<boolean> {
    try {
      return (await this.retry(id, operator)) === 'done';
    } catch (error) {
      if (isLockWait(error)) return false;
      throw error;
    }
  }

  async resolve(id: string, outcome: Outcome, operator: OperatorNote & { note: string }): Promise<Resolution> {
    return this.change(id, { ...operator, action: outcome }, (tx, row) => this.settle(tx, row, outcome, operator.note));
  }

  private async settle(tx: EntityManager, row: Row, outcome: Outcome, note: string): Promise<boolean> {
    const { table, resolve } = this.of;
    if (resolve) return resolve(tx, row, outcome, note);
    if (outcome === 'reject') return false;
    await settleFinal(sqlOf(tx), table, { ids: [row.id] });
    return true;
  }

  /** Counts in the index `due` without reading the table. */
  async summary(sql: Sql): Promise<SummaryRow[]> {
    const scheme = this.of.shown.scheme ? `'${this.of.shown.scheme}'` : 'scheme';
    const rows: Row[] = await sql.query(
      `SELECT ${scheme} AS scheme, state, COUNT(*) AS n,
       TIMESTAMPDIFF(MICROSECOND, MIN(next_attempt_at), UTC_TIMESTAMP(3)) / 1000 AS age
       FROM ${this.of.table.name} FORCE INDEX (due) WHERE next_attempt_at IS NOT NULL GROUP BY 1, 2`,
    );
    const schemes = new Set([
      ...(this.of.shown.scheme ? [this.of.shown.scheme] : []),
      ...rows.map((row) => String(row.scheme)),
    ]);
    return [...schemes].map((name) =>
      summaryRow(
        name,
        this.of.table.name,
        rows.filter((row) => row.scheme === name),
      ),
    );
  }

  /** Locks, acts, closes the alert and records the operator in one transaction. Concurrent operators take turns. */
  private async change(
    id: string,
    operator: OperatorNote & { action: string },
    act: (tx: EntityManager, row: Row) => Promise<boolean>,
  ): Promise<Resolution> {
    // `@OnRejected` is user code.
    const run = async (tx: EntityManager, sql: Sql): Promise<Resolution> => {
      const [row]: Row[] = await sql.query(`SELECT * FROM ${this.of.table.name} WHERE id = ? FOR UPDATE`, [id]);
      if (!row) return 'unknown-id';
      if (!this.of.table.openStates.includes(row.state) || !(await act(tx, row))) return 'not-possible';
      const scheme = this.of.shown.scheme ?? String(row.scheme);
      await this.alerts.close(sql, scheme, [id]);
      await this.alerts.recordOperation(sql, { ...operator, scheme, id });
      return 'done';
    };
    const result = await this.database.work.run({ what: `${operator.action} of ${id} by an operator`, run });
    if (result === 'done') this.of.wake();
    return result;
  }

  private view(row: Row): TransactionView {
    return {
      id: row.id,
      gid: (row.gid as string | null) ?? null,
      scheme: this.of.shown.scheme ?? String(row.scheme),
      what: this.of.shown.what(row),
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

/** Keeps the given order. A time before its predecessor comes from another clock and is raised to it. */
function timelineOf(moments: readonly Moment[]): TimelineEntry[] {
  let last = '';
  return moments.flatMap(([at, event]) => {
    const time = isoTime(at);
    if (!time) return [];
    last = time > last ? time : last;
    return [{ at: last, event }];
  });
}
