import { idTimeMs } from '../ids.js';

/** Consumers kept in memory. Their names come from messages, so their number needs a limit. */
const CONSUMERS_KEPT = 1_000;

/**
 * How far consumers have come in their queues, by their receipts. A queue is first in, first out, so a consumer whose
 * receipts are all for messages older than another message has most likely not come to that one. A hint in the memory of
 * this process: each process takes a share of the receipts, and knows nothing after its start.
 */
export class ConsumerProgress {
  private readonly newest = new Map<string, number>();

  /** Remembers receipts, as the consumer of each message id. An id without a time says nothing. */
  receipted(receipts: ReadonlyMap<string, string>): void {
    for (const [id, consumer] of receipts) {
      const madeAtMs = idTimeMs(id);
      const newest = this.newest.get(consumer);
      if (madeAtMs === undefined || (newest !== undefined && madeAtMs <= newest)) continue;
      if (newest === undefined && this.newest.size >= CONSUMERS_KEPT) this.newest.clear();
      this.newest.set(consumer, madeAtMs);
    }
  }

  /**
   * When the newest message with a receipt from this consumer was made, in milliseconds since the epoch by the database
   * clock. Undefined without a receipt.
   */
  madeAtMs(consumer: string): number | undefined {
    return this.newest.get(consumer);
  }
}
