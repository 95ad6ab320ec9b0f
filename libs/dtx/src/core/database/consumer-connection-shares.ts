import { Semaphore } from '../async/semaphore.js';
import { DtxError } from '../errors/errors.js';

const ONE_CONSUMER = 1 / 2;
const ALL_CONSUMERS = 3 / 4;
/** The wait for a place has no limit of its own. The handlers and calls in front have `handlerTimeoutMs`. */
const AS_LONG_AS_IT_TAKES_MS = 2_147_483_647;

/**
 * Shares the connections of the work pool. One consumer takes at most half of them, all consumers together three
 * quarters. Calls of `SharedTransactions` are one consumer. The rest serves all other library transactions, also while handlers hang.
 */
export class WorkShares {
  private readonly each = new Map<string, Semaphore>();
  private readonly all: Semaphore;

  /** @param size the number of connections of the pool */
  constructor(private readonly size: number) {
    this.all = semaphore('all consumers', size * ALL_CONSUMERS);
  }

  within<T>(consumer: string | undefined, work: () => Promise<T>): Promise<T> {
    return consumer === undefined ? work() : this.withPlace(consumer, work);
  }

  private async withPlace<T>(consumer: string, work: () => Promise<T>): Promise<T> {
    let own = this.each.get(consumer);
    if (!own) {
      own = semaphore(consumer, this.size * ONE_CONSUMER);
      this.each.set(consumer, own);
    }
    const leaveOwn = own.tryAcquire() ?? (await own.acquire(AS_LONG_AS_IT_TAKES_MS));
    try {
      return await this.all.within(AS_LONG_AS_IT_TAKES_MS, work);
    } finally {
      leaveOwn();
    }
  }
}

function semaphore(whose: string, permits: number): Semaphore {
  return new Semaphore(
    Math.max(1, Math.floor(permits)),
    (ms) => new DtxError(`${whose}: no connection within ${ms} ms`),
  );
}
