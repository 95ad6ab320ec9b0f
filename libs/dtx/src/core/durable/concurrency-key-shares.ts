import type { DurableRow } from './durable-table.js';

/**
 * The maximum time in milliseconds that a claimed row waits in memory for a place. Its lease is longer by this time.
 */
export const HOLD_MS = 1_000;
/**
 * The maximum number of rows that a claim takes beyond the free places of a key. The number grows while the key uses
 * them in time.
 */
const SURPLUS_MAX = 128;
/** The number of idle keys whose last outcome is remembered. */
const REMEMBERED_MAX = 1_000;

/** The state of one concurrency key in this process. */
interface Share<Row> {
  inWork: number;
  /** Rows that are claimed by this process and not started. */
  waiting: Array<{ row: Row; untilMs: number }>;
  /** Rows that one claim takes beyond the free places. */
  surplus: number;
  /** The outcome of the last run: with or without an answer. `new` before the first run. */
  last: 'new' | 'answered' | 'silent';
}

export interface KeyLimits {
  /** The maximum number of rows in work, over all keys. */
  readonly concurrencyMax: number;
  /** The maximum number of rows in work per key. */
  readonly perKeyMax: number;
}

/**
 * A concurrency key is a value that rows share (a consumer, a target). `KeyShares` divides the places of a loop,
 * so that a slow or dead key never takes all of them:
 * - A key has its full `perKeyMax` only while half of all places are free. Its limit shrinks as places run out.
 * - A new key, or a key whose last run had no answer, has one place.
 * - Keys without an answer share half of all places. Together with the new keys they share three quarters.
 * Rows that a claim took beyond these limits wait here, at most HOLD_MS. If the process dies, their leases expire.
 */
export class KeyShares<Row extends DurableRow> {
  private readonly shares = new Map<string, Share<Row>>();
  private inWork = 0;
  /** Rows in work of keys without an answer, and of new keys. */
  private readonly unproven = { silent: 0, new: 0 };

  constructor(
    private readonly column: string,
    private readonly limits: KeyLimits,
  ) {}

  of(row: Row): string {
    return String((row as Record<string, unknown>)[this.column]);
  }

  /** The number of rows of this key that may start now. */
  room(name: string): number {
    const { concurrencyMax, perKeyMax } = this.limits;
    const share = this.shares.get(name);
    const free = concurrencyMax - this.inWork;
    const inWork = share?.inWork ?? 0;
    if (free <= 0) return 0;
    if (share?.last === 'answered') {
      const limit = Math.floor((2 * perKeyMax * free) / concurrencyMax);
      return Math.min(free, Math.max(0, Math.max(1, Math.min(perKeyMax, limit)) - inWork));
    }
    const { silent, new: fresh } = this.unproven;
    const isFull =
      share?.last === 'silent'
        ? silent >= Math.max(1, Math.floor(concurrencyMax / 2))
        : silent + fresh >= Math.max(1, Math.floor((concurrencyMax * 3) / 4));
    return inWork > 0 || isFull ? 0 : 1;
  }

  /** Whether one more row of this key may wait here for a place. Only a key that answers keeps its places moving. */
  mayWait(name: string): boolean {
    const share = this.shares.get(name);
    return share?.last === 'answered' && share.inWork > 0 && share.waiting.length < share.surplus;
  }

  /** The number of rows of this key that a claim may take now. */
  wanted(name: string): number {
    const share = this.shares.get(name);
    const room = this.room(name);
    if (room === 0 || (share && share.waiting.length > 0)) return 0;
    return share?.last === 'answered' ? room + share.surplus : room;
  }

  /** The keys of which a claim takes no rows now. */
  full(): string[] {
    return [...this.shares.keys()].filter((name) => this.wanted(name) === 0);
  }

  /** Adds claimed rows that wait for a place. */
  add(rows: readonly Row[]): void {
    const untilMs = performance.now() + HOLD_MS;
    for (const row of rows) this.share(this.of(row)).waiting.push({ row, untilMs });
  }

  /** Removes a waiting row that may start now. The keys take turns. */
  next(): Row | undefined {
    const now = performance.now();
    for (const [name, share] of this.shares) {
      const first = share.waiting[0];
      if (!first || first.untilMs < now || this.room(name) === 0) continue;
      share.waiting.shift();
      if (share.waiting.length === 0) share.surplus = Math.min(SURPLUS_MAX, Math.max(1, share.surplus * 2));
      // Moves the key to the end for the next turn.
      this.shares.delete(name);
      this.shares.set(name, share);
      return first.row;
    }
    return undefined;
  }

  /** Removes the rows that waited too long, or all of them. */
  takeWaiting({ all = false } = {}): Row[] {
    const now = performance.now();
    const taken: Row[] = [];
    for (const share of this.shares.values()) {
      const over = share.waiting.filter(({ untilMs }) => all || untilMs < now);
      if (over.length === 0) continue;
      share.waiting = share.waiting.filter((one) => !over.includes(one));
      share.surplus = Math.floor(share.surplus / 4);
      taken.push(...over.map(({ row }) => row));
    }
    return taken;
  }

  /** Counts a started row. The returned function counts its end, with whether the run had no answer. */
  enter(name: string): (isSilent: boolean) => void {
    const share = this.share(name);
    this.count(share, 1);
    return (isSilent) => {
      this.count(share, -1);
      this.remember(share, isSilent ? 'silent' : 'answered');
      if (share.inWork === 0) this.forgetOldest();
    };
  }

  private count(share: Share<Row>, by: 1 | -1): void {
    share.inWork += by;
    this.inWork += by;
    if (share.last !== 'answered') this.unproven[share.last] += by;
  }

  private remember(share: Share<Row>, last: 'answered' | 'silent'): void {
    if (share.last !== 'answered') this.unproven[share.last] -= share.inWork;
    share.last = last;
    if (last === 'silent') this.unproven.silent += share.inWork;
  }

  private share(name: string): Share<Row> {
    let share = this.shares.get(name);
    if (!share) {
      share = { inWork: 0, waiting: [], surplus: this.limits.perKeyMax, last: 'new' };
      this.shares.set(name, share);
    }
    return share;
  }

  private forgetOldest(): void {
    if (this.shares.size <= REMEMBERED_MAX) return;
    for (const [name, share] of this.shares) {
      if (share.inWork > 0 || share.waiting.length > 0) continue;
      this.shares.delete(name);
      return;
    }
  }
}
