import { Semaphore } from '../async/semaphore.js';
import { DtxError } from '../errors/errors.js';

const ONE_CONSUMER = 1 / 2;
const ALL_CONSUMERS = 3 / 4;
/** A wait for a place is bounded by what those in front of it may take. */
const AS_LONG_AS_IT_TAKES_MS = 2_147_483_647;

/**
 * Leaves connections of the work pool to others: a consumer whose handlers hang takes half of them, all consumers together
 * three quarters. The rest is for everything else that begins transactions.
 */
export class WorkShares {
  private readonly each = new Map<string, Semaphore>();
  private readonly all: Semaphore;

  /** @param size connections of the pool */
  constructor(private readonly size: number) {
    this.all = semaphore('all consumers', size * ALL_CONSUMERS);
  }

  within<T>(consumer: string | undefined, work: () => Promise<T>): Promise<T> {
    if (consumer === undefined) return work();
    let own = this.each.get(consumer);
    if (!own) {
      own = semaphore(consumer, this.size * ONE_CONSUMER);
      this.each.set(consumer, own);
    }
    return own.within(AS_LONG_AS_IT_TAKES_MS, () => this.all.within(AS_LONG_AS_IT_TAKES_MS, work));
  }
}

function semaphore(whose: string, permits: number): Semaphore {
  return new Semaphore(
    Math.max(1, Math.floor(permits)),
    (ms) => new DtxError(`${whose}: no connection within ${ms} ms`),
  );
}
