// For step 1, publish: how many transactions may wait for the broker. It is in memory only. A waiting caller has
// published nothing, and its transaction is rolled back with it.
import { BrokerUnavailable } from '../core/errors/errors.js';

/** A caller that has waited this long for its confirm shows that the broker is silent rather than busy. */
const SILENT_MS = 500;

/**
 * Semaphore for publishes inside transactions. Each caller holds a database connection while it waits for the broker. The
 * gate leaves the rest of the pool to other work. A caller without a place waits while the broker answers and is rejected
 * as soon as the broker is silent.
 */
export class PublishGate {
  /** Entry time of each caller inside, oldest first. */
  private readonly inside = new Map<object, number>();
  private readonly waiting = new Set<() => void>();

  constructor(private readonly placesMax: number) {}

  /**
   * Resolves with the function that releases the place.
   * @param endsAt deadline by `performance.now()`
   * @throws BrokerUnavailable if no place is free before the deadline, or the broker is silent. Nothing was sent.
   */
  async enter(endsAt: number): Promise<() => void> {
    for (;;) {
      const now = performance.now();
      if (this.inside.size < this.placesMax) {
        const me = {};
        this.inside.set(me, now);
        return () => this.leave(me);
      }
      const [oldest = now] = this.inside.values();
      const waitMs = Math.min(oldest + SILENT_MS, endsAt) - now;
      if (waitMs <= 0)
        throw new BrokerUnavailable(
          `message not sent: ${this.placesMax} publishes inside transactions wait for RabbitMQ; retry later`,
        );
      await this.untilOneLeaves(waitMs);
    }
  }

  private leave(me: object): void {
    this.inside.delete(me);
    const [next] = this.waiting;
    next?.();
  }

  private async untilOneLeaves(limitMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const go = () => {
        clearTimeout(timer);
        this.waiting.delete(go);
        resolve();
      };
      const timer = setTimeout(go, Math.ceil(limitMs));
      this.waiting.add(go);
    });
  }
}
