import type { Sql } from '../database/sql-executor.js';
import type { DurableTable, TableRow } from './durable-table.js';

/** A count of waiting rows is kept for this multiple of its duration, so it costs at most a thousandth of one core. */
const KEPT_TIMES = 1_000;

/** Open rows of one state. `age` is the time in milliseconds since the first of them was due, or null if none is. */
export interface StateCount {
  readonly state: string;
  readonly n: number;
  readonly age: number | null;
}

/**
 * Counts the open rows of a table with delayed rows. Millions of them may wait for months, so they are not read with the
 * others: the count of the waiting state is repeated the less often the longer it takes.
 */
export class DelayedRowCounts {
  private waiting = 0;
  private dueAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly table: DurableTable,
    private readonly waitingState: string,
  ) {}

  async read(sql: Sql): Promise<StateCount[]> {
    const { name, openStates } = this.table;
    const rows = await sql.query<TableRow[]>(
      `SELECT state, COUNT(*) AS n, NULL AS age FROM ${name} FORCE INDEX (by_state) WHERE state IN (?) GROUP BY state
       UNION ALL SELECT state, 0, TIMESTAMPDIFF(MICROSECOND, MIN(next_attempt_at), UTC_TIMESTAMP(3)) / 1000
       FROM ${name} FORCE INDEX (due) WHERE next_attempt_at <= UTC_TIMESTAMP(3) GROUP BY state`,
      [openStates.filter((state) => state !== this.waitingState)],
    );
    if (performance.now() >= this.dueAt) await this.countWaiting(sql);
    const counts = rows.map(({ state, n, age }) => ({ state, n: Number(n), age: age === null ? null : Number(age) }));
    return [...counts, { state: this.waitingState, n: this.waiting, age: null }];
  }

  /** Makes the next `read` count the waiting rows, since an operator has changed some. */
  forget(): void {
    this.dueAt = Number.NEGATIVE_INFINITY;
  }

  /** A count that the server ends at its time limit leaves the last figure. The state is missing before the first one. */
  private async countWaiting(sql: Sql): Promise<void> {
    const since = performance.now();
    this.dueAt = Number.POSITIVE_INFINITY;
    const count = `SELECT COUNT(*) AS n FROM ${this.table.name} FORCE INDEX (by_state) WHERE state = ?`;
    const rows = await sql.query<TableRow[]>(count, [this.waitingState]).catch(() => null);
    if (rows) this.waiting = Number(rows[0]!.n);
    const now = performance.now();
    // Otherwise `forget` was called during the count, which may miss the change.
    if (this.dueAt === Number.POSITIVE_INFINITY) this.dueAt = now + KEPT_TIMES * (now - since);
  }
}
