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
interface Lane<Row> {
  inWork: number;
  /** Rows that are claimed by this process and not started. */
  waiting: Array<{ row: Row; untilMs: number }>;
  /** Rows that one claim takes beyond the free places. */
  surplus: number;
  /** The outcome of the last run: with or without an answer. `new` before the first run. */
  last: 'new' | 'answered' | 'silent';
}

export interface LaneLimits {
  /** The maximum number of rows in work, over all keys. */
  readonly concurrencyMax: number;
  /** The maximum number of rows in work per key. */
  readonly laneMax: number;
}

/**
 * A lane is the rows with one value of the concurrency key (a consumer, a target). `Lanes` shares the places of a loop,
 * so that a slow or dead lane never takes all of them:
 * - A lane has its full `laneMax` only while half of all places are free. Its limit shrinks as places run out.
 * - A new lane, or a lane whose last run had no answer, has one place.
 * - Lanes without an answer share half of all places. Together with the new lanes they share three quarters.
 * Rows that a claim took beyond these limits wait here, at most HOLD_MS. If the process dies, their leases expire.
 */
export class Lanes<Row extends DurableRow> {
  private readonly lanes = new Map<string, Lane<Row>>();
  private inWork = 0;
  /** Rows in work of lanes without an answer, and of new lanes. */
  private readonly unproven = { silent: 0, new: 0 };

  constructor(
    private readonly column: string,
    private readonly limits: LaneLimits,
  ) {}

  of(row: Row): string {
    return String((row as Record<string, unknown>)[this.column]);
  }

  /** The number of rows of this lane that may start now. */
  room(name: string): number {
    const { concurrencyMax, laneMax } = this.limits;
    const lane = this.lanes.get(name);
    const free = concurrencyMax - this.inWork;
    const inWork = lane?.inWork ?? 0;
    if (free <= 0) return 0;
    if (lane?.last === 'answered') {
      const share = Math.floor((2 * laneMax * free) / concurrencyMax);
      return Math.min(free, Math.max(0, Math.max(1, Math.min(laneMax, share)) - inWork));
    }
    const { silent, new: fresh } = this.unproven;
    const isFull =
      lane?.last === 'silent'
        ? silent >= Math.max(1, Math.floor(concurrencyMax / 2))
        : silent + fresh >= Math.max(1, Math.floor((concurrencyMax * 3) / 4));
    return inWork > 0 || isFull ? 0 : 1;
  }

  /** The number of rows of this lane that a claim may take now. */
  wanted(name: string): number {
    const lane = this.lanes.get(name);
    const room = this.room(name);
    if (room === 0 || (lane && lane.waiting.length > 0)) return 0;
    return lane?.last === 'answered' ? room + lane.surplus : room;
  }

  /** The lanes of which a claim takes no rows now. */
  full(): string[] {
    return [...this.lanes.keys()].filter((name) => this.wanted(name) === 0);
  }

  /** Adds claimed rows that wait for a place. */
  add(rows: readonly Row[]): void {
    const untilMs = performance.now() + HOLD_MS;
    for (const row of rows) this.lane(this.of(row)).waiting.push({ row, untilMs });
  }

  /** Removes a waiting row that may start now. The lanes take turns. */
  next(): Row | undefined {
    const now = performance.now();
    for (const [name, lane] of this.lanes) {
      const first = lane.waiting[0];
      if (!first || first.untilMs < now || this.room(name) === 0) continue;
      lane.waiting.shift();
      if (lane.waiting.length === 0) lane.surplus = Math.min(SURPLUS_MAX, Math.max(1, lane.surplus * 2));
      // Moves the lane to the end for the next turn.
      this.lanes.delete(name);
      this.lanes.set(name, lane);
      return first.row;
    }
    return undefined;
  }

  /** Removes the rows that waited too long, or all of them. */
  takeWaiting({ all = false } = {}): Row[] {
    const now = performance.now();
    const taken: Row[] = [];
    for (const lane of this.lanes.values()) {
      const over = lane.waiting.filter(({ untilMs }) => all || untilMs < now);
      if (over.length === 0) continue;
      lane.waiting = lane.waiting.filter((one) => !over.includes(one));
      lane.surplus = Math.floor(lane.surplus / 4);
      taken.push(...over.map(({ row }) => row));
    }
    return taken;
  }

  /** Counts a started row. The returned function counts its end, with whether the run had no answer. */
  enter(name: string): (isSilent: boolean) => void {
    const lane = this.lane(name);
    this.count(lane, 1);
    return (isSilent) => {
      this.count(lane, -1);
      this.remember(lane, isSilent ? 'silent' : 'answered');
      if (lane.inWork === 0) this.forgetOldest();
    };
  }

  private count(lane: Lane<Row>, by: 1 | -1): void {
    lane.inWork += by;
    this.inWork += by;
    if (lane.last !== 'answered') this.unproven[lane.last] += by;
  }

  private remember(lane: Lane<Row>, last: 'answered' | 'silent'): void {
    if (lane.last !== 'answered') this.unproven[lane.last] -= lane.inWork;
    lane.last = last;
    if (last === 'silent') this.unproven.silent += lane.inWork;
  }

  private lane(name: string): Lane<Row> {
    let lane = this.lanes.get(name);
    if (!lane) {
      lane = { inWork: 0, waiting: [], surplus: this.limits.laneMax, last: 'new' };
      this.lanes.set(name, lane);
    }
    return lane;
  }

  private forgetOldest(): void {
    if (this.lanes.size <= REMEMBERED_MAX) return;
    for (const [name, lane] of this.lanes) {
      if (lane.inWork > 0 || lane.waiting.length > 0) continue;
      this.lanes.delete(name);
      return;
    }
  }
}
