import type { Database } from '../database/database.service.js';
import type { SqlValue } from '../database/sql-literals.js';
import type { DurableTable, ShownTable, TableRow } from './durable-table.js';
import type { ListQuery, StoredPayload } from './operations-registry.js';
import { viewColumns } from './row-views.js';

/** A condition with its value. */
type Filter = readonly [sql: string, value: string];
const whereOf = (filters: readonly Filter[]) =>
  filters.length > 0 ? `WHERE ${filters.map(([sql]) => sql).join(' AND ')}` : '';
const valuesOf = (filters: readonly Filter[]) => filters.map(([, value]) => value);

/** The lower of two bounds. Ids are ASCII in the collation `ascii_bin`, so the server orders them as JavaScript does. */
const lower = (one?: string, other?: string) => (one && other ? (one < other ? one : other) : (one ?? other));

/** The number of index entries that one call searches if no index has the filter in the order of the ids. */
const STRETCH_ROWS = 5_000;

/** Largest body in bytes that the operations API answers with. */
export const PAYLOAD_BYTES_MAX = 2 * 1024 * 1024;

/** Ids of one page, newest first, and the id below which the search goes on, as in `ListPage`. */
export interface IdPage {
  readonly ids: string[];
  readonly through: string | null;
}

/**
 * Reads pages of one table. Each call reads a bounded number of rows, whatever the table holds: a page of a state comes
 * from the index `by_state` in order, and another filter searches one stretch. Bodies are never read.
 */
export class TableLists {
  constructor(
    private readonly table: DurableTable,
    private readonly shown: ShownTable,
    private readonly database: Database,
  ) {}

  /** The rows of a page, with the columns of the view. */
  async page(query: ListQuery): Promise<{ rows: TableRow[]; through: string | null }> {
    const { ids, through } = await this.ids(query);
    return { rows: ids.length === 0 ? [] : await this.rows(ids), through };
  }

  async ids({ scheme, state, limit, before }: ListQuery): Promise<IdPage> {
    if (this.shown.scheme && scheme && scheme !== this.shown.scheme) return { ids: [], through: null };
    const top = lower(before, this.shown.below);
    const bounds: Filter[] = [];
    if (state) bounds.push(['state = ?', state]);
    if (top) bounds.push(['id < ?', top]);
    const from = `FROM ${this.table.name} FORCE INDEX (${state ? 'by_state' : 'PRIMARY'}) ${whereOf(bounds)}
      ORDER BY id DESC`;
    const values = valuesOf(bounds);
    if (!scheme || this.shown.scheme)
      return { ids: await this.select(`SELECT id ${from} LIMIT ${Number(limit)}`, values), through: null };
    const [last] = await this.select(`SELECT id ${from} LIMIT 1 OFFSET ${STRETCH_ROWS - 1}`, values);
    const ids = await this.select(
      `SELECT id FROM (SELECT id, scheme ${from} LIMIT ${STRETCH_ROWS}) AS stretch
       WHERE scheme = ? ORDER BY id DESC LIMIT ${Number(limit)}`,
      [...values, scheme],
    );
    return { ids, through: last ?? null };
  }

  /** The number of rows in one state, from the index. */
  async count({ scheme, state }: { scheme: string; state: string }): Promise<number> {
    if (this.shown.scheme && scheme !== this.shown.scheme) return 0;
    const filters: Filter[] = [['state = ?', state]];
    if (!this.shown.scheme) filters.push(['scheme = ?', scheme]);
    const [row] = await this.database.reads.query(
      `SELECT COUNT(*) AS n FROM ${this.table.name} FORCE INDEX (by_state) ${whereOf(filters)}`,
      valuesOf(filters),
    );
    return Number(row.n);
  }

  /** One row with the columns of the view. */
  async row(id: string): Promise<TableRow | undefined> {
    const [row] = await this.rows([id]);
    return row;
  }

  /** The body of one row, in a column that no list reads. A body above the limit stays in the table. */
  async payload(id: string, column: string): Promise<StoredPayload | null> {
    const [row] = await this.database.reads.query<TableRow[]>(
      `SELECT LENGTH(${column}) AS bytes, IF(LENGTH(${column}) <= ${PAYLOAD_BYTES_MAX}, ${column}, NULL) AS body
       FROM ${this.table.name} WHERE id = ?`,
      [id],
    );
    if (!row) return null;
    const bytes = Number(row.bytes ?? 0);
    return { bytes, text: row.body == null ? null : String(row.body) };
  }

  private rows(ids: readonly string[]): Promise<TableRow[]> {
    const { name } = this.table;
    const sql = `SELECT ${viewColumns(this.shown)} FROM ${name} FORCE INDEX (PRIMARY) WHERE id IN (?) ORDER BY id DESC`;
    return this.database.reads.query(sql, [[...ids]]);
  }

  private async select(sql: string, values: readonly SqlValue[]): Promise<string[]> {
    const rows: TableRow[] = await this.database.reads.query(sql, values);
    return rows.map(({ id }) => id);
  }
}
