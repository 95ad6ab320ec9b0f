import type { EntityManager } from 'typeorm';
import type { Backoff, RetrySchedule } from '../async/backoff.js';
import type { Condition, DurableRow, DurableTable, TableRow } from './durable-table.js';

/** The result of one attempt. `settled`: the work has written the new state of the row, fenced by its token. */
export type Tried =
  | { kind: 'settled' }
  /**
   * A dependency is unavailable. This does not count as an attempt. The row is due again when its lease expires, or
   * after `delayMs`.
   */
  | { kind: 'unreachable'; delayMs?: number }
  /**
   * The attempt failed and is retried with backoff. `atLeastMs`: the minimum wait that the other side requested.
   * `isSilent`: the other side did not answer (see `KeyShares`).
   */
  | { kind: 'failed'; error: string; atLeastMs?: number; isSilent?: boolean }
  /** A retry cannot succeed. The row is parked at once. */
  | { kind: 'fatal'; error: string };

/** The resolution by an operator: the work is done (by hand), or rejected. */
export type Outcome = 'done' | 'reject';

/** The work of one durable table: how a row runs, and what happens when it fails. */
export interface DurableWork<Row extends DurableRow> {
  readonly scheme: string;
  readonly table: DurableTable;
  readonly leaseMs: number;
  readonly scanIntervalMs: number;
  /** The maximum number of rows in work. */
  readonly concurrencyMax: number;
  /** The maximum number of rows in work per concurrency key. Without it the keys have no limit. */
  readonly perKeyMax?: number;
  /** The maximum number of rows that a claim takes beyond the free places of a concurrency key, see `KeyShares`. */
  readonly surplusMax?: number;
  /** Places that scanned rows leave free, so that a backlog does not delay the fast path. Needs `perKeyMax`. */
  readonly freshMin?: number;
  readonly attemptsMax: number;
  readonly backoff: Backoff | RetrySchedule;
  /** The rows that this process can handle. All rows without it. Other rows are left to other instances. */
  mine?(): Condition;
  /** Returns false while a dependency is known to be unavailable. No row is claimed then. */
  canRun(): boolean;
  /** @param answered releases the place of the concurrency key before the remaining local work is done */
  run(row: Row, answered: () => void): Promise<Tried>;
  /** The alert of a parked row. Null raises none. */
  describe(row: Row): { scheme?: string; gid: string | null; step: string } | null;
  /**
   * Resolves an open row by an operator, in the transaction that holds the row lock. Returns false if the scheme does
   * not allow this outcome. Without it, only `done` is possible and ends the row.
   */
  resolve?(tx: EntityManager, row: TableRow, outcome: Outcome, note: string): Promise<boolean>;
  /** Writes the marks that `run` has collected. Called when no row is in work. */
  writeMarks?(): Promise<void>;
  /** Runs after the commit that parked the row and wrote its alert. */
  parked?(row: Row): Promise<void>;
}
