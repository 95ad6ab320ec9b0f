// Before step 1, begin: a place for the transaction. Nothing durable exists for a waiting caller, so its call can be
// repeated.
import { Semaphore } from '../core/async/semaphore.js';
import { XaUnavailable } from './xa-unavailable.js';

interface Limits {
  readonly concurrencyMax: number;
  readonly waitersMax: number;
  readonly waitMs: number;
}

/**
 * Bounds the XA transactions that run at once in this process. Each takes one connection from the pool of every branch
 * database. Pools of the same size as this bound let no transaction wait for a connection while it holds others. Such a
 * wait could deadlock.
 */
export class Admission {
  private readonly semaphore: Semaphore;

  constructor(private readonly limits: Limits) {
    const { concurrencyMax } = limits;
    const timedOut = (ms: number) =>
      new XaUnavailable(
        `no place for an XA transaction within ${ms} ms: xa.concurrencyMax ${concurrencyMax} is reached`,
      );
    this.semaphore = new Semaphore(concurrencyMax, timedOut);
  }

  /**
   * Resolves with the function that frees the place.
   * @throws XaUnavailable after `waitMs`, or at once when `waitersMax` transactions wait already
   */
  async enter(): Promise<() => void> {
    const { waitersMax, waitMs } = this.limits;
    if (this.semaphore.waiting >= waitersMax)
      throw new XaUnavailable(`too many waiting XA transactions: xa.waitersMax ${waitersMax} is reached`);
    return this.semaphore.acquire(waitMs);
  }

  /** Refuses new and waiting transactions. Resolves when all running ones have ended. */
  close(): Promise<void> {
    return this.semaphore.close(new XaUnavailable('cannot begin an XA transaction: the app is stopping'));
  }
}
