import { backoffMs } from '../async/backoff.js';

/** The part of a consumer's places that handlers may take which wait for a lock as long as they like. */
const SHARES = 4;
/** The shortest wait that both servers know. */
const SHORT_WAIT_SECONDS = 1;
/** How many deliveries are remembered that met a lock. */
const REMEMBERED_MAX = 10_000;
const WAITS = { firstMs: 1_000, factor: 2, capMs: 15_000 };

/**
 * Keeps the places of a consumer from handlers that wait for a locked row. While more than a share of the places is taken,
 * a handler waits for a lock only shortly: its delivery is then held as a row, which is no attempt, and its place is free
 * for the deliveries behind it. The rows are tried again on places of their own, less and less often while the lock lasts.
 */
export class Crowd {
  private readonly inWork = new Map<string, number>();
  private readonly met = new Map<string, number>();

  /** @param placesMax deliveries of one consumer that are handled at once */
  constructor(private readonly placesMax: number) {}

  /** Places for held rows. */
  get share(): number {
    return Math.max(1, Math.floor(this.placesMax / SHARES));
  }

  /** Runs a handler with its lock wait in seconds; undefined for the usual one. */
  async within<T>(consumer: string, handle: (lockWaitSeconds: number | undefined) => Promise<T>): Promise<T> {
    const others = this.inWork.get(consumer) ?? 0;
    this.inWork.set(consumer, others + 1);
    try {
      return await handle(others >= this.share ? SHORT_WAIT_SECONDS : undefined);
    } finally {
      const left = this.inWork.get(consumer)! - 1;
      if (left > 0) this.inWork.set(consumer, left);
      else this.inWork.delete(consumer);
    }
  }

  /** How long a held row rests that has met a lock once more. In this process: another one begins with the first wait. */
  restMsOf(id: string): number {
    const times = (this.met.get(id) ?? 0) + 1;
    this.met.delete(id);
    this.met.set(id, times);
    if (this.met.size > REMEMBERED_MAX) this.met.delete(this.met.keys().next().value!);
    return backoffMs(WAITS, times);
  }

  /** How long a held row waits for a lock, in seconds: one that has met it before does not hold up the others. */
  waitOf(id: string): number | undefined {
    return this.met.has(id) ? SHORT_WAIT_SECONDS : undefined;
  }

  forget(id: string): void {
    this.met.delete(id);
  }
}
