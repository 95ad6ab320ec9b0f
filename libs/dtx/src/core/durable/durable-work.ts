import type { EntityManager } from 'typeorm';
import type { Backoff, Ladder } from '../async/backoff.js';
import type { Condition, DurableRow, DurableTable, TableRow } from './durable-table.js';

/** What became of one try. `settled`: the work has written the row's new state itself, fenced by its token. */
export type Tried =
  | { kind: 'settled' }
  /** What it needs is away: not an attempt; the row is due again when its lease expires, or after `delayMs`. */
  | { kind: 'unreachable'; delayMs?: number }
  /** `atLeastMs`: whoever failed it has asked for that much time. `isSilent`: there was no answer (see `Lanes`). */
  | { kind: 'failed'; error: string; atLeastMs?: number; isSilent?: boolean }
  | { kind: 'hopeless'; error: string };

/** What a person says about a row: it is done (by hand), or refused. */
export type Outcome = 'done' | 'reject';

export interface DurableWork<Row extends DurableRow> {
  readonly scheme: string;
  readonly table: DurableTable;
  readonly leaseMs: number;
  readonly scanIntervalMs: number;
  /** Rows in work at once. */
  readonly concurrencyMax: number;
  /** Rows of one lane in work at once, where the table has lanes. Without it there are none. */
  readonly laneMax?: number;
  readonly attemptsMax: number;
  readonly backoff: Backoff | Ladder;
  /** The rows that this process can do; all of them where it is not given. Others are left to other instances. */
  mine?(): Condition;
  /** False while what the work needs is known to be away: nothing is claimed then. */
  canRun(): boolean;
  /** @param answered gives the place in its lane back, before what is left to do here is done */
  run(row: Row, answered: () => void): Promise<Tried>;
  /** What an alert says about a row that gave up; null raises none. */
  describe(row: Row): { scheme?: string; gid: string | null; step: string } | null;
  /**
   * Settles an open row at a person's word, in the transaction that holds the row's lock. False if the scheme has no such
   * outcome for it. Without this only `done` is possible, and ends the row.
   */
  resolve?(tx: EntityManager, row: TableRow, outcome: Outcome, note: string): Promise<boolean>;
  /** After the row was parked and the alert written, outside the transaction. */
  parked?(row: Row): Promise<void>;
}
