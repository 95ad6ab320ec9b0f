import { Semaphore } from '../core/async/semaphore.js';
import { XaUnavailable } from './errors.js';

interface Limits {
  readonly concurrencyMax: number;
  readonly waitersMax: number;
  readonly waitMs: number;
}

/**
 * Bounds how many XA transactions run at once. Each takes one connection from the pool of every branch database. Pools of
 * the same size as this bound let no transaction wait for a connection while it holds others, which could deadlock.
 */
export class Admission {
  private readonly semaphore: Semaphore;

  constructor(private readonly limits: Limits) {
    const { concurrencyMax } = limits;
    const timedOut = (ms: number) => new XaUnavailable(`${concurrencyMax} XA transactions were running for ${ms} ms`);
    this.semaphore = new Semaphore(concurrencyMax, timedOut);
  }

  /** Resolves with the function that lets the next one in. @throws XaUnavailable after `waitMs`, or when too many wait already */
  async enter(): Promise<() => void> {
    const { waitersMax, waitMs } = this.limits;
    if (this.semaphore.waiting >= waitersMax) throw new XaUnavailable(`${waitersMax} XA transactions wait already`);
    return this.semaphore.acquire(waitMs);
  }

  /** Refuses new transactions and those that wait. Resolves when all that run have ended. */
  close(): Promise<void> {
    return this.semaphore.close(new XaUnavailable('the app is stopping: it begins no further XA transaction'));
  }
}
