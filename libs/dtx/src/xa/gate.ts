import { XaUnavailable } from './errors.js';

/**
 * Lets so many transactions through at once. Each takes one connection from every database's pool, so with pools of the
 * same size nobody waits for a connection while holding others: that could not end. Waiting is bounded in time and number.
 */
export class Gate {
  private inside = 0;
  private isClosed = false;
  private readonly waiting: Array<(enter: boolean) => void> = [];
  private readonly emptied: Array<() => void> = [];

  constructor(private readonly limits: { concurrencyMax: number; waitersMax: number; waitMs: number }) {}

  /** Resolves with what lets the next one in. @throws XaUnavailable when it takes too long, or too many wait already */
  async enter(): Promise<() => void> {
    if (this.isClosed) throw new XaUnavailable('the app is stopping: no transaction is begun any more');
    if (this.inside < this.limits.concurrencyMax) this.inside++;
    else await this.turn();
    let isIn = true;
    return () => {
      if (isIn) this.leave();
      isIn = false;
    };
  }

  /** Nobody enters any more; resolves when all have left. */
  async close(): Promise<void> {
    this.isClosed = true;
    for (const go of this.waiting.splice(0)) go(false);
    if (this.inside > 0) await new Promise<void>((resolve) => this.emptied.push(resolve));
  }

  private async turn(): Promise<void> {
    const { concurrencyMax, waitersMax, waitMs } = this.limits;
    if (this.waiting.length >= waitersMax) throw new XaUnavailable(`${waitersMax} XA transactions wait already`);
    const isLet = await new Promise<boolean>((resolve) => {
      const go = (enter: boolean) => {
        clearTimeout(timer);
        resolve(enter);
      };
      const timer = setTimeout(() => {
        this.waiting.splice(this.waiting.indexOf(go), 1);
        resolve(false);
      }, waitMs);
      this.waiting.push(go);
    });
    if (!isLet) throw new XaUnavailable(`${concurrencyMax} XA transactions were running for ${waitMs} ms`);
  }

  /** The place goes to who has waited longest: `inside` stays what it is. */
  private leave(): void {
    const next = this.waiting.shift();
    if (next) {
      next(true);
      return;
    }
    this.inside--;
    if (this.inside === 0) for (const done of this.emptied.splice(0)) done();
  }
}
