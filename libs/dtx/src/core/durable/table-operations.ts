import type { EntityManager } from 'typeorm';
import type { Database } from '../database/database.service.js';
import { type Sql } from '../database/sql-executor.js';
import { sqlOf } from '../database/transaction-sql-executor.js';
import type { Alerts } from './alerts.js';
import { inFuture } from './claim-and-reschedule.js';
import { DelayedRowCounts, type StateCount } from './delayed-row-counts.js';
import type { DurableRow, DurableTable, ShownTable, TableRow } from './durable-table.js';
import type { DurableWork, Outcome } from './durable-work.js';
import type {
  BulkQuery,
  ListPage,
  ListQuery,
  OperationsSource,
  OperatorNote,
  Resolution,
  RetriedBatch,
  SingleView,
  StoredPayload,
  SummaryRow,
} from './operations-registry.js';
import { singleViews, viewOf } from './row-views.js';
import { settleFinal } from './settle-or-park.js';
import { TableLists } from './table-pages.js';

type Row = TableRow;

/** Rows of one transaction of a retry of all. It holds their locks for some milliseconds. */
const BATCH_ROWS = 200;

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
  private readonly lists: TableLists;
  private readonly delayed: DelayedRowCounts | undefined;

  constructor(
    private readonly of: Operable,
    private readonly database: Database,
    private readonly alerts: Alerts,
  ) {
    this.lists = new TableLists(of.table, of.shown, database);
    const { delayed } = of.table;
    this.delayed = delayed && new DelayedRowCounts(of.table, delayed.waiting);
  }

  async list(query: ListQuery): Promise<ListPage> {
    const { rows, through } = await this.lists.page(query);
    return { items: rows.map((row) => viewOf(this.of.shown, row)), through };
  }

  async get(id: string): Promise<SingleView | null> {
    const row = await this.lists.row(id);
    const [view] = await singleViews(this.database.reads, this.of.shown, row ? [row] : []);
    return view ?? null;
  }

  async payload(id: string): Promise<StoredPayload | null> {
    const { body } = this.of.shown;
    if (!body) return null;
    return this.lists.payload(id, body);
  }

  async retry(id: string, operator: OperatorNote): Promise<Resolution> {
    return this.change(id, { ...operator, action: 'retry' }, async (tx, row) => {
      // The retry fences out a running attempt. Its result would overwrite the retry of the operator.
      await this.makeDue(sqlOf(tx), [row.id]);
      return true;
    });
  }

  count(query: BulkQuery): Promise<number> {
    return this.of.table.openStates.includes(query.state) ? this.lists.count(query) : Promise.resolve(0);
  }

  /**
   * If the process dies, the committed batches are retried and the rest is unchanged. A row that another transaction
   * has locked is in work or in the hands of another operator, so it is left out.
   */
  async retryNext(
    { scheme, state, before }: BulkQuery & { before?: string | undefined },
    operator: OperatorNote,
  ): Promise<RetriedBatch> {
    if (!this.of.table.openStates.includes(state)) return { retried: 0, through: null };
    const page = await this.lists.ids({ scheme, state, before, limit: BATCH_ROWS });
    const through = page.ids.length === BATCH_ROWS ? page.ids.at(-1)! : page.through;
    if (page.ids.length === 0) return { retried: 0, through };
    const retried = await this.database.own.transaction(async (sql) => {
      const rows: Row[] = await sql.query(
        `SELECT id FROM ${this.of.table.name} FORCE INDEX (PRIMARY) WHERE id IN (?) AND state = ? FOR UPDATE SKIP LOCKED`,
        [[...page.ids].sort(), state],
      );
      const ids = rows.map(({ id }) => id);
      if (ids.length === 0) return 0;
      await this.makeDue(sql, ids);
      await this.alerts.close(sql, scheme, ids);
      await this.alerts.recordOperations(sql, { ...operator, scheme, action: 'retry' }, ids);
      return ids.length;
    });
    if (retried > 0) this.changed();
    return { retried, through };
  }

  private async makeDue(sql: Sql, ids: readonly string[]): Promise<void> {
    // A delayed row is due now, and its age counts from now.
    const early = this.of.table.delayed ? 'created_at = LEAST(created_at, UTC_TIMESTAMP(3)), ' : '';
    await sql.query(
      `UPDATE ${this.of.table.name} SET state = IF(state = 'PARKED', ${this.of.shown.retryState}, state), attempts = 0,
         ${early}claim_token = NULL, next_attempt_at = UTC_TIMESTAMP(3) WHERE id IN (?)`,
      [ids],
    );
  }

  async resolve(id: string, outcome: Outcome, operator: OperatorNote & { note: string }): Promise<Resolution> {
    return this.change(id, { ...operator, action: outcome }, (tx, row) => this.settle(tx, row, outcome, operator.note));
  }

  async reschedule(id: string, dueInMs: number, operator: OperatorNote): Promise<Resolution> {
    const { name, delayed } = this.of.table;
    return this.change(id, { ...operator, action: 'reschedule' }, async (tx, { state, claim_token }) => {
      if (state !== delayed?.waiting || claim_token !== null) return false;
      const due = inFuture(dueInMs);
      await sqlOf(tx).query(`UPDATE ${name} SET next_attempt_at = ${due}, created_at = ${due} WHERE id = ?`, [id]);
      return true;
    });
  }

  private async settle(tx: EntityManager, row: Row, outcome: Outcome, note: string): Promise<boolean> {
    const { table, resolve } = this.of;
    if (resolve) return resolve(tx, row, outcome, note);
    if (outcome === 'reject') return false;
    await settleFinal(sqlOf(tx), table, { ids: [row.id] });
    return true;
  }

  async summary(sql: Sql): Promise<SummaryRow[]> {
    const { shown, table } = this.of;
    if (shown.scheme) return [summaryRow(shown.scheme, table.name, await this.counts(sql))];
    const rows = await this.countInDue(sql, 'scheme');
    const schemes = new Set(rows.map(({ scheme }) => String(scheme)));
    return [...schemes].map((name) =>
      summaryRow(
        name,
        table.name,
        rows.filter(({ scheme }) => scheme === name),
      ),
    );
  }

  private counts(sql: Sql): Promise<readonly StateCount[]> {
    return this.delayed ? this.delayed.read(sql) : this.countInDue(sql, 'NULL');
  }

  /** Counts in the index `due` without reading the table. */
  private async countInDue(sql: Sql, scheme: string): Promise<Array<StateCount & { scheme: unknown }>> {
    const rows: Row[] = await sql.query(
      `SELECT ${scheme} AS scheme, state, COUNT(*) AS n,
       TIMESTAMPDIFF(MICROSECOND, MIN(next_attempt_at), UTC_TIMESTAMP(3)) / 1000 AS age
       FROM ${this.of.table.name} FORCE INDEX (due) WHERE next_attempt_at IS NOT NULL GROUP BY 1, 2`,
    );
    return rows.map(({ scheme, state, n, age }) => ({ scheme, state, n: Number(n), age: Number(age) }));
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
    if (result === 'done') this.changed();
    return result;
  }

  private changed(): void {
    this.delayed?.forget();
    this.of.wake();
  }
}

function summaryRow(scheme: string, source: string, rows: readonly StateCount[]): SummaryRow {
  const states = Object.fromEntries(rows.filter(({ n }) => n > 0).map(({ state, n }) => [state, n]));
  const ages = rows.flatMap(({ state, age }) => (state === 'PARKED' || age === null ? [] : [age]));
  const oldest = Math.max(...ages, Number.NEGATIVE_INFINITY);
  return { scheme, source, states, parked: states.PARKED ?? 0, oldestDueMs: oldest > 0 ? Math.round(oldest) : null };
}
