import { setTimeout as sleep } from 'node:timers/promises';
import { NOW_MS } from './clock-sql.js';
import type { Sql } from './sql-executor.js';

const READ_EVERY_MS = 30_000;

/** The database clock, as last read. All due times and leases use the database clock, because process clocks differ. */
export class DatabaseClock {
  /** The last reading, and its time on the monotonic process clock. */
  private last = { ms: Date.now(), at: performance.now() };

  constructor(private readonly sql: () => Sql) {}

  /** The current database time in milliseconds since the epoch. */
  nowMs(): number {
    return Math.round(this.last.ms + performance.now() - this.last.at);
  }

  async read(): Promise<void> {
    const before = performance.now();
    const [{ ms }] = await this.sql().query<[{ ms: unknown }]>(`SELECT ${NOW_MS} AS ms`);
    this.last = { ms: Number(ms), at: (before + performance.now()) / 2 };
  }

  /** Reads the clock periodically until the signal. A failed reading is retried at the next time. */
  async keep(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      await sleep(READ_EVERY_MS, undefined, { signal: stopping, ref: false }).catch(() => {});
      if (!stopping.aborted) await this.read().catch(() => {});
    }
  }
}
