import type { SessionPool } from '../database/session-pool.js';
import { claimByIds } from './claim.js';
import type { Condition, DurableRow, DurableTable } from './durable-table.js';

/** A look at all due rows, also at those that were passed over before, takes this part of the time at the most. */
const LOOK_AT_ALL_SHARE = 20;
/** How long a row that a look has missed waits at the most. */
const LOOK_AT_ALL_MAX_MS = 30_000;
/** Lanes with due rows that are passed over at once. */
const PASSED_MAX = 5_000;
/** Lanes that are looked at by themselves in one statement. */
const LANES_AT_ONCE = 50;
const BEGINNING = '1000-01-01 00:00:00.000';

interface Candidate {
  readonly id: string;
  readonly lane: string;
  readonly due_at: string;
}

/** A look at the due rows of some lanes from a moment on. `lanes` is a comparison with `names`. */
interface Look {
  readonly from: string;
  readonly lanes: string;
  readonly names: string | readonly string[];
  readonly limit: number;
}

/** How many rows of a lane a claim may take now. */
export type Wanted = (lane: string) => number;

/**
 * Claims rows of a table with lanes: of each lane no more than it has room for, of all lanes the rows that are due first.
 * The rows of a lane without room are passed over in the index `due`, once: their lane is remembered with the place of its
 * first row, and the next claims begin behind them. A lane that has room again is looked at by itself, from its place on.
 * A row may come to stand before such a place (its transaction took long, or it was locked when it was looked at), so all
 * due rows are looked at again and again: often where they are few, every LOOK_AT_ALL_MAX_MS where they are very many.
 */
export class LaneClaim<Row extends DurableRow> {
  /** Lanes with due rows that were left, and where the first of them stands. */
  private readonly passed = new Map<string, string>();
  /** Before it, only lanes in `passed` have due rows. */
  private from = BEGINNING;
  private lookAtAllAt = 0;

  constructor(
    private readonly pool: () => SessionPool,
    private readonly table: DurableTable,
    private readonly leaseMs: number,
    /** The rows that this process can do; all where it is not given. Others are left where they are, and keep no place. */
    private readonly mine?: () => Condition,
  ) {}

  /** Whether rows of this lane are due that a claim has left. */
  hasLeft(lane: string): boolean {
    return this.passed.has(lane);
  }

  /** Claims at most `limit` rows. `isMore`: more rows may be due that could be taken at once. */
  async claim(limit: number, wanted: Wanted, full: readonly string[]): Promise<{ rows: Row[]; isMore: boolean }> {
    const since = performance.now();
    const isWhole = since >= this.lookAtAllAt;
    if (isWhole) this.beginAnew(full);
    const picked = new Picked(limit, wanted);
    await this.pickPassed(picked);
    await this.pickOthers(picked);
    if (isWhole)
      this.lookAtAllAt = since + Math.min(LOOK_AT_ALL_MAX_MS, LOOK_AT_ALL_SHARE * (performance.now() - since));
    // Nothing is passed over: the next claim may look from the beginning.
    if (this.passed.size === 0) this.from = BEGINNING;
    if (picked.ids.size === 0) return { rows: [], isMore: false };
    const only = this.mine?.();
    const ids = [...picked.ids];
    const rows = await claimByIds<Row>(this.pool(), this.table, { ids, leaseMs: this.leaseMs, only });
    // guard: lanes.claimed
    return { rows, isMore: rows.length > 0 && picked.left === 0 };
  }

  private beginAnew(full: readonly string[]): void {
    this.passed.clear();
    this.from = BEGINNING;
    for (const lane of full) this.passed.set(lane, BEGINNING);
  }

  /** The lanes that were passed over and have room now, each from its own place on. */
  private async pickPassed(picked: Picked): Promise<void> {
    const open = [...this.passed].filter(([lane]) => picked.wanted(lane) > 0).slice(0, LANES_AT_ONCE);
    if (open.length === 0) return;
    const looks = open.map(([lane, from]) =>
      this.select({ from, lanes: '= ?', names: lane, limit: Math.min(picked.left, picked.wanted(lane)) + 1 }),
    );
    const sql = looks.map((look) => `(${look.sql})`).join(' UNION ALL ');
    const rows: Candidate[] = await this.pool().query(
      sql,
      looks.flatMap((look) => look.values),
    );
    for (const [lane] of open) {
      const left = rows.filter((row) => row.lane === lane).find((row) => !picked.take(row));
      if (left) this.passed.set(lane, left.due_at);
      else this.passed.delete(lane);
    }
  }

  /** All other lanes, in the order of their rows, in stretches: a lane that is full by now is left out of the next one. */
  private async pickOthers(picked: Picked): Promise<void> {
    const stretch = 2 * picked.limit;
    while (picked.left > 0 && this.passed.size < PASSED_MAX) {
      const lanes = ['', ...this.passed.keys()];
      const { rows, now } = await this.lookAt(lanes, stretch);
      for (const row of rows) {
        if (picked.ids.has(row.id) || this.passed.has(row.lane)) continue;
        if (picked.left === 0) return;
        this.from = row.due_at;
        if (!picked.take(row)) this.passed.set(row.lane, row.due_at);
      }
      if (rows.length === stretch) continue;
      // Those were all. By the place alone, rows of one time would be passed over again and again.
      this.from = now;
      return;
    }
  }

  /** The next rows of other lanes, and the time up to which rows were due. */
  private async lookAt(lanes: readonly string[], stretch: number): Promise<{ rows: Candidate[]; now: string }> {
    const look = this.select({ from: this.from, lanes: 'NOT IN (?)', names: lanes, limit: stretch });
    const sql = `(${look.sql}) UNION ALL SELECT NULL, NULL, CAST(UTC_TIMESTAMP(3) AS CHAR)`;
    const rows: Candidate[] = await this.pool().query(sql, look.values);
    const { due_at: now } = rows.find(({ id }) => id === null)!;
    return { rows: rows.filter(({ id }) => id !== null), now };
  }

  /** Not a locking read: it locks none of the rows that it passes over. */
  private select({ from, lanes, names, limit }: Look) {
    const { name, lane } = this.table;
    const { sql: isMine, values } = this.mine?.() ?? { sql: 'TRUE', values: [] };
    // guard: lanes.look
    const sql = `SELECT id, ${lane} AS lane, CAST(next_attempt_at AS CHAR) AS due_at FROM ${name} FORCE INDEX (due)
      WHERE next_attempt_at >= ? AND next_attempt_at <= UTC_TIMESTAMP(3) AND ${lane} ${lanes} AND ${isMine}
      ORDER BY next_attempt_at LIMIT ?`;
    return { sql, values: [from, names, ...values, limit] };
  }
}

/** What one claim takes. */
class Picked {
  readonly ids = new Set<string>();
  private readonly counts = new Map<string, number>();

  constructor(
    readonly limit: number,
    readonly wanted: Wanted,
  ) {}

  get left(): number {
    return this.limit - this.ids.size;
  }

  /** False when this claim, or the lane of the row, has no room for it. */
  take({ id, lane }: Candidate): boolean {
    const count = this.counts.get(lane) ?? 0;
    if (this.left === 0 || count >= this.wanted(lane)) return false;
    this.ids.add(id);
    this.counts.set(lane, count + 1);
    return true;
  }
}
