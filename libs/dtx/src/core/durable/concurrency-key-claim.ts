import type { SessionPool } from '../database/pinned-session-pool.js';
import { claimByIds, inFuture } from './claim-and-reschedule.js';
import type { Condition, DurableRow, DurableTable } from './durable-table.js';

/** The full look at all due rows takes at most one part in this number of the time. */
const LOOK_AT_ALL_SHARE = 20;
/** The maximum wait in milliseconds of a row that a look missed. */
const LOOK_AT_ALL_MAX_MS = 30_000;
/** The maximum number of concurrency keys with skipped rows. */
const PASSED_MAX = 5_000;
/** The number of concurrency keys that one statement looks at. */
const KEYS_AT_ONCE = 50;
const BEGINNING = '1000-01-01 00:00:00.000';

interface Candidate {
  readonly id: string;
  readonly concurrency_key: string;
  readonly due_at: string;
}

/** The result of a claim. */
interface Claimed<Row> {
  readonly rows: Row[];
  readonly isMore: boolean;
  readonly dueInMs: number | undefined;
}

/** A look at the due rows of some concurrency keys from a due time on. `keys` is a comparison with `names`. */
interface Look {
  readonly from: string;
  readonly keys: string;
  readonly names: string | readonly string[];
  readonly limit: number;
}

/** The number of rows of a concurrency key that a claim may take now. */
export type Wanted = (key: string) => number;

/**
 * Claims rows of a table with a concurrency key: per key not more than it has room for, over all keys the earliest due
 * rows. Rows of a full key are skipped in the index `due` once. The key and the due time of its first skipped row are
 * remembered, and later claims start behind it. A key with room again is looked at separately from that time on.
 * A row may appear before such a time, after a long transaction or a lock. A full look therefore repeats, often
 * for few due rows, and at the latest after LOOK_AT_ALL_MAX_MS for many. The remembered keys are hints in memory: a
 * restarted process begins with a full look.
 */
export class KeyedClaim<Row extends DurableRow> {
  /** Concurrency keys with skipped due rows, with the due time of the first. */
  private readonly passed = new Map<string, string>();
  /** Before this due time, only keys in `passed` have due rows. */
  private from = BEGINNING;
  private lookAtAllAt = 0;

  constructor(
    private readonly pool: () => SessionPool,
    private readonly table: DurableTable,
    private readonly leaseMs: number,
    /** The rows that this process can handle. All rows without it. Other rows stay and take no place. */
    private readonly mine?: () => Condition,
    /** How far in milliseconds a look for the next delayed row goes. Later ones are left to the next claim. */
    private readonly aheadMs = 0,
  ) {}

  /** Whether a claim has skipped due rows of this key. */
  hasLeft(key: string): boolean {
    return this.passed.has(key);
  }

  /** Claims at most `limit` rows. `isMore`: more rows may be claimable at once. `dueInMs`: the next delayed row is due. */
  async claim(limit: number, wanted: Wanted, full: readonly string[]): Promise<Claimed<Row>> {
    const since = performance.now();
    const isWhole = since >= this.lookAtAllAt;
    if (isWhole) this.beginAnew(full);
    const picked = new Picked(limit, wanted);
    await this.pickPassed(picked);
    await this.pickOthers(picked);
    if (isWhole)
      this.lookAtAllAt = since + Math.min(LOOK_AT_ALL_MAX_MS, LOOK_AT_ALL_SHARE * (performance.now() - since));
    // No row was skipped. The next claim starts at the beginning.
    if (this.passed.size === 0) this.from = BEGINNING;
    const { dueInMs } = picked;
    if (picked.ids.size === 0) return { rows: [], isMore: false, dueInMs };
    const only = this.mine?.();
    const ids = [...picked.ids];
    const rows = await claimByIds<Row>(this.pool(), this.table, { ids, leaseMs: this.leaseMs, only });
    // guard: keyed-claim.claimed
    return { rows, isMore: rows.length > 0 && picked.left === 0, dueInMs };
  }

  private beginAnew(full: readonly string[]): void {
    this.passed.clear();
    this.from = BEGINNING;
    for (const key of full) this.passed.set(key, BEGINNING);
  }

  /** Picks rows of skipped keys that have room now, each from its own due time on. */
  private async pickPassed(picked: Picked): Promise<void> {
    const open = [...this.passed].filter(([key]) => picked.wanted(key) > 0).slice(0, KEYS_AT_ONCE);
    if (open.length === 0) return;
    const looks = open.map(([key, from]) =>
      this.select({ from, keys: '= ?', names: key, limit: Math.min(picked.left, picked.wanted(key)) + 1 }),
    );
    const sql = looks.map((look) => `(${look.sql})`).join(' UNION ALL ');
    const rows: Candidate[] = await this.pool().query(
      sql,
      looks.flatMap((look) => look.values),
    );
    for (const [key] of open) {
      const left = rows.filter((row) => row.concurrency_key === key).find((row) => !picked.take(row));
      if (left) this.passed.set(key, left.due_at);
      else this.passed.delete(key);
    }
  }

  /**
   * Picks rows of all other keys in the order of their due times, in stretches. A key that becomes full is excluded
   * from the next stretch.
   */
  private async pickOthers(picked: Picked): Promise<void> {
    const stretch = 2 * picked.limit;
    while (picked.left > 0 && this.passed.size < PASSED_MAX) {
      const keys = ['', ...this.passed.keys()];
      const { rows, now, dueInMs } = await this.lookAt(keys, stretch);
      picked.dueInMs = dueInMs;
      for (const row of rows) {
        if (picked.ids.has(row.id) || this.passed.has(row.concurrency_key)) continue;
        if (picked.left === 0) return;
        this.from = row.due_at;
        if (!picked.take(row)) this.passed.set(row.concurrency_key, row.due_at);
      }
      if (rows.length === stretch) continue;
      // These were all due rows. The database time is used, because rows with equal due times would be skipped
      // repeatedly.
      this.from = now;
      return;
    }
  }

  /** The next rows of other keys, the database time of the look, and the time until the next delayed row is due. */
  private async lookAt(keys: readonly string[], stretch: number) {
    const look = this.select({ from: this.from, keys: 'NOT IN (?)', names: keys, limit: stretch });
    const sql = `(${look.sql}) UNION ALL SELECT NULL, ${this.nextDelayed}, CAST(UTC_TIMESTAMP(3) AS CHAR)`;
    const rows: Candidate[] = await this.pool().query(sql, look.values);
    const { due_at: now, concurrency_key: due } = rows.find(({ id }) => id === null)!;
    const dueInMs = due === null ? undefined : Number(due) / 1_000;
    return { rows: rows.filter(({ id }) => id !== null), now, dueInMs };
  }

  /** The microseconds until the next delayed row is due, as SQL. It reads only the part of the index up to `aheadMs`. */
  private get nextDelayed(): string {
    const { name, delayed } = this.table;
    if (!delayed || this.aheadMs === 0) return 'NULL';
    return `(SELECT CAST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), next_attempt_at) AS CHAR) FROM ${name} FORCE INDEX (due)
      WHERE next_attempt_at > UTC_TIMESTAMP(3) AND next_attempt_at <= ${inFuture(this.aheadMs)}
        AND state = '${delayed.waiting}' ORDER BY next_attempt_at LIMIT 1)`;
  }

  /** A non-locking read, so that skipped rows stay unlocked. */
  private select({ from, keys, names, limit }: Look) {
    const { name, concurrencyKey } = this.table;
    const { sql: isMine, values } = this.mine?.() ?? { sql: 'TRUE', values: [] };
    // guard: keyed-claim.look
    const sql = `SELECT id, ${concurrencyKey} AS concurrency_key, CAST(next_attempt_at AS CHAR) AS due_at FROM ${name} FORCE INDEX (due)
      WHERE next_attempt_at >= ? AND next_attempt_at <= UTC_TIMESTAMP(3) AND ${concurrencyKey} ${keys} AND ${isMine}
      ORDER BY next_attempt_at LIMIT ?`;
    return { sql, values: [from, names, ...values, limit] };
  }
}

/** The rows of one claim. */
class Picked {
  readonly ids = new Set<string>();
  /** The time until the next delayed row is due. */
  dueInMs: number | undefined;
  private readonly counts = new Map<string, number>();
  private readonly limits = new Map<string, number>();

  constructor(
    readonly limit: number,
    private readonly wantedNow: Wanted,
  ) {}

  /**
   * The number of rows that this claim may take of a key. It stays the same while runs end during the claim. Otherwise a
   * key whose look was limited by a smaller number would seem to have no further rows.
   */
  wanted(key: string): number {
    const limit = this.limits.get(key) ?? this.wantedNow(key);
    this.limits.set(key, limit);
    return limit;
  }

  get left(): number {
    return this.limit - this.ids.size;
  }

  /** Takes a row. Returns false if the claim or the concurrency key has no room. */
  take({ id, concurrency_key: key }: Candidate): boolean {
    const count = this.counts.get(key) ?? 0;
    if (this.left === 0 || count >= this.wanted(key)) return false;
    this.ids.add(id);
    this.counts.set(key, count + 1);
    return true;
  }
}
