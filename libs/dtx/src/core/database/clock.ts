import { setTimeout as sleep } from 'node:timers/promises';
import { NOW_MS } from './clock-sql.js';
import type { Sql } from './sql.js';

const READ_EVERY_MS = 30_000;

/** The database's clock, as last read. */
export class DatabaseClock {
  /** What it said, and when that was by this process's steady clock, which nobody can set. */
  private last = { ms: Date.now(), at: performance.now() };

  constructor(private readonly sql: () => Sql) {}

  /** Milliseconds since the epoch. */
  nowMs(): number {
    return Math.round(this.last.ms + performance.now() - this.last.at);
  }

  async read(): Promise<void> {
    const before = performance.now();
    const [{ ms }] = await this.sql().query<[{ ms: unknown }]>(`SELECT ${NOW_MS} AS ms`);
    this.last = { ms: Number(ms), at: (before + performance.now()) / 2 };
  }

  /** Reads it again and again until the signal. What fails is tried at the next time. */
  async keep(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      await sleep(READ_EVERY_MS, undefined, { signal: stopping, ref: false }).catch(() => {});
      if (!stopping.aborted) await this.read().catch(() => {});
    }
  }
}
