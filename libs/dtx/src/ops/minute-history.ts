import { Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { schemeLabel } from '../core/loaded-scheme-names.js';
import { onMeasured } from '../core/telemetry-events.js';
import { type InstanceView, thisInstance } from './this-instance.js';

const MINUTES_MAX = 60;
const MINUTE_MS = 60_000;
/** Upper bounds of latency in milliseconds: a quarter more with each step, from 1 ms to about a day. */
const BOUNDS = Array.from({ length: 83 }, (_, step) => 1.25 ** step);

/** The events of one scheme in one minute, in this process. Latencies are upper bounds, exact to a quarter. */
export interface MinuteOfScheme {
  readonly started: number;
  readonly settled: number;
  readonly parked: number;
  readonly retried: number;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
}

export interface HistoryView {
  /** Whose events these are. The console adds up the instances of an app. */
  readonly instance: InstanceView;
  /** When this process began to count. Minutes before it are missing, and not zero. */
  readonly since: string;
  readonly minutes: ReadonlyArray<{ readonly at: string; readonly schemes: Readonly<Record<string, MinuteOfScheme>> }>;
}

type Count = 'started' | 'settled' | 'parked' | 'retried';

class Tally {
  readonly counts: Record<Count, number> = { started: 0, settled: 0, parked: 0, retried: 0 };
  private readonly latencies = new Uint32Array(BOUNDS.length);
  private measured = 0;

  add(count: Count, ms: number | undefined): void {
    this.counts[count]++;
    if (ms === undefined) return;
    const at = ms <= 1 ? 0 : Math.min(BOUNDS.length - 1, Math.ceil(Math.log(ms) / Math.log(1.25)));
    this.latencies[at]!++;
    this.measured++;
  }

  get view(): MinuteOfScheme {
    return { ...this.counts, p50Ms: this.percentile(0.5), p95Ms: this.percentile(0.95) };
  }

  private percentile(share: number): number | null {
    let left = Math.ceil(this.measured * share);
    if (left === 0) return null;
    const at = this.latencies.findIndex((count) => {
      left -= count;
      return left <= 0;
    });
    return Math.round(BOUNDS[at]! * 10) / 10;
  }
}

/**
 * Counts the library's events by minute and scheme, for the last hour of this process. It is kept in memory only. Times are
 * those of this machine.
 */
@Injectable()
export class MinuteHistory implements OnModuleInit, OnModuleDestroy {
  private readonly minutes = new Map<number, Map<string, Tally>>();
  private ends: Array<() => void> = [];
  private readonly since: number;

  constructor() {
    this.since = this.nowMs();
  }

  onModuleInit(): void {
    this.ends = (['started', 'parked', 'retried'] as const).map((count) =>
      onMeasured(count, ({ scheme }) => this.add(count, scheme)),
    );
    this.ends.push(onMeasured('settled', ({ scheme, ms }) => this.add('settled', scheme, ms)));
  }

  onModuleDestroy(): void {
    for (const end of this.ends) end();
  }

  /** The last hour, oldest first. A minute without events is there, and empty. */
  get view(): HistoryView {
    const last = this.minuteOf(this.nowMs());
    const first = Math.max(this.minuteOf(this.since), last - MINUTES_MAX + 1);
    const minutes = Array.from({ length: last - first + 1 }, (_, index) => {
      const schemes = [...(this.minutes.get(first + index) ?? [])].map(([scheme, tally]) => [scheme, tally.view]);
      return { at: new Date((first + index) * MINUTE_MS).toISOString(), schemes: Object.fromEntries(schemes) };
    });
    return { instance: thisInstance, since: new Date(this.since).toISOString(), minutes };
  }

  private add(count: Count, given: string, ms?: number): void {
    const scheme = schemeLabel(given);
    const minute = this.minuteOf(this.nowMs());
    let tallies = this.minutes.get(minute);
    if (!tallies) {
      tallies = new Map();
      this.minutes.set(minute, tallies);
      for (const old of this.minutes.keys()) if (old <= minute - MINUTES_MAX) this.minutes.delete(old);
    }
    const tally = tallies.get(scheme) ?? new Tally();
    tallies.set(scheme, tally);
    tally.add(count, ms);
  }

  private minuteOf(ms: number): number {
    return Math.floor(ms / MINUTE_MS);
  }

  protected nowMs(): number {
    return Date.now();
  }
}
