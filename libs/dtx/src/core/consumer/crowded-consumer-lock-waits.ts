import { backoffMs } from '../async/backoff.js';

/** The part of the places of a consumer for handlers with an unlimited lock wait. */
const SHARES = 4;
/** The shortest lock wait of both servers. */
const SHORT_WAIT_SECONDS = 1;
/** The number of deliveries with a lock wait that are remembered. */
const REMEMBERED_MAX = 10_000;
/** A crowd counts for this time in milliseconds after it has left, so that sessions do not change their setting at each handler. */
const AFTER_CROWD_MS = 1_000;
const WAITS = { firstMs: 1_000, factor: 2, capMs: 15_000 };

/**
 * Limits the places of a consumer that wait for row locks. While more than a share of the places is taken, a handler
 * waits for a lock only briefly. Its delivery is then stored as a RETRYING row, without counting an attempt, and the
 * place is free for the deliveries behind it. The retry loop runs these rows on its own places, with growing waits
 * while the lock lasts.
 */
export class Crowd {
  private readonly inWork = new Map<string, number>();
  private readonly met = new Map<string, number>();
  /** When each consumer was crowded last, by `performance.now()`. */
  private readonly crowdedAt = new Map<string, number>();

  /** @param placesMax concurrent deliveries of one consumer */
  constructor(private readonly placesMax: number) {}

  /** The number of places for RETRYING rows. */
  get share(): number {
    return Math.max(1, Math.floor(this.placesMax / SHARES));
  }

  /** Runs a handler with its lock wait in seconds. Undefined means the default wait. */
  async within<T>(consumer: string, handle: (lockWaitSeconds: number | undefined) => Promise<T>): Promise<T> {
    const others = this.inWork.get(consumer) ?? 0;
    this.inWork.set(consumer, others + 1);
    try {
      return await handle(this.isCrowded(consumer, others) ? SHORT_WAIT_SECONDS : undefined);
    } finally {
      const left = this.inWork.get(consumer)! - 1;
      if (left > 0) this.inWork.set(consumer, left);
      else this.inWork.delete(consumer);
    }
  }

  private isCrowded(consumer: string, others: number): boolean {
    const now = performance.now();
    if (others >= this.share) this.crowdedAt.set(consumer, now);
    return now - (this.crowdedAt.get(consumer) ?? Number.NEGATIVE_INFINITY) < AFTER_CROWD_MS;
  }

  /**
   * The wait before the next attempt of a row that met a lock again. Each process counts for itself and starts with the
   * first wait.
   */
  restMsOf(id: string): number {
    const times = (this.met.get(id) ?? 0) + 1;
    this.met.delete(id);
    this.met.set(id, times);
    if (this.met.size > REMEMBERED_MAX) this.met.delete(this.met.keys().next().value!);
    return backoffMs(WAITS, times);
  }

  /** The lock wait of a RETRYING row in seconds. A row that met the lock before waits only briefly. */
  waitOf(id: string): number | undefined {
    return this.met.has(id) ? SHORT_WAIT_SECONDS : undefined;
  }

  forget(id: string): void {
    this.met.delete(id);
  }
}
