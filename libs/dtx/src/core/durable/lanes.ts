import type { DurableRow } from './durable-table.js';

/** How long a claimed row may wait in memory for a place in its lane. Its lease is longer by as much. */
export const HOLD_MS = 1_000;
/** Rows of one lane that a claim takes beyond its free places. The number grows while the lane uses them up in time. */
const SURPLUS_MAX = 128;
/** Lanes without work whose last outcome is remembered. */
const REMEMBERED_MAX = 1_000;

interface Lane<Row> {
  inWork: number;
  /** Claimed, leased to this process, not begun. */
  waiting: Array<{ row: Row; untilMs: number }>;
  /** Rows that one claim takes beyond the free places. */
  surplus: number;
  /** Whether the last run had an answer. A lane without a run is `new`. */
  last: 'new' | 'answered' | 'silent';
}

export interface LaneLimits {
  /** Rows in work at once, of all lanes together. */
  readonly concurrencyMax: number;
  /** Rows of one lane in work at once. */
  readonly laneMax: number;
}

/**
 * Shares the places of a loop between lanes, so that a slow or dead lane takes a part of them and never all:
 * - a lane has all of `laneMax` only while half of all places are free, and fewer as places run out;
 * - a lane without an answer, a new one or one whose last run had none, has one place;
 * - lanes whose last run had no answer have half of all places together, and three quarters with the new ones.
 * Rows that a claim has taken beyond that wait here, at most HOLD_MS. If the process dies, their lease expires.
 */
export class Lanes<Row extends DurableRow> {
  private readonly lanes = new Map<string, Lane<Row>>();
  private inWork = 0;
  /** Rows in work of lanes whose last run had no answer, and of new lanes. */
  private readonly unproven = { silent: 0, new: 0 };

  constructor(
    private readonly column: string,
    private readonly limits: LaneLimits,
  ) {}

  of(row: Row): string {
    return String((row as Record<string, unknown>)[this.column]);
  }

  /** Rows of this lane that may begin now. */
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

  /** Rows of this lane that a claim may take now. */
  wanted(name: string): number {
    const lane = this.lanes.get(name);
    const room = this.room(name);
    if (room === 0 || (lane && lane.waiting.length > 0)) return 0;
    return lane?.last === 'answered' ? room + lane.surplus : room;
  }

  /** Lanes of which a claim takes nothing now. */
  full(): string[] {
    return [...this.lanes.keys()].filter((name) => this.wanted(name) === 0);
  }

  /** Keeps claimed rows until they begin. */
  add(rows: readonly Row[]): void {
    const untilMs = performance.now() + HOLD_MS;
    for (const row of rows) this.lane(this.of(row)).waiting.push({ row, untilMs });
  }

  /** A waiting row that may begin now. Lanes take turns. */
  next(): Row | undefined {
    const now = performance.now();
    for (const [name, lane] of this.lanes) {
      const first = lane.waiting[0];
      if (!first || first.untilMs < now || this.room(name) === 0) continue;
      lane.waiting.shift();
      if (lane.waiting.length === 0) lane.surplus = Math.min(SURPLUS_MAX, Math.max(1, lane.surplus * 2));
      // Behind the others for the next turn.
      this.lanes.delete(name);
      this.lanes.set(name, lane);
      return first.row;
    }
    return undefined;
  }

  /** Takes out the rows that have waited for too long, or all of them. */
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

  /** Counts a row in. The returned function counts it out, with whether its run had an answer. */
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
