/** The longest that a timer of Node's can wait, in milliseconds. */
const TIMER_MS_MAX = 2_147_483_647;

/**
 * Bounds how many pieces of work run at once. The others wait in order, each for a limited time. The holder with the
 * longest wait gets the next permit.
 */
export class Semaphore {
  private free: number;
  private readonly waiters = new Set<Waiter>();
  private readonly idle = new Set<() => void>();
  private closedWith: Error | undefined;

  /** @param timedOut makes the error for a caller that waited `limitMs` in vain: its work has not begun */
  constructor(
    private readonly permits: number,
    private readonly timedOut: (limitMs: number) => Error,
  ) {
    this.free = permits;
  }

  /** How many callers wait for a permit. */
  get waiting(): number {
    return this.waiters.size;
  }

  /** Resolves with the function that gives the permit back. A second call of it does nothing. @throws what `timedOut` makes */
  async acquire(limitMs: number): Promise<() => void> {
    if (this.closedWith) throw this.closedWith;
    if (this.free > 0) this.free -= 1;
    else await this.turn(limitMs);
    let isHeld = true;
    return () => {
      if (isHeld) this.release();
      isHeld = false;
    };
  }

  /** Runs the work with a permit. @throws what `timedOut` makes, or what the work throws */
  async within<T>(limitMs: number, work: () => Promise<T>): Promise<T> {
    const release = await this.acquire(limitMs);
    try {
      return await work();
    } finally {
      release();
    }
  }

  /** Refuses those who wait and all later callers with this error. Resolves when every permit is back. */
  async close(error: Error): Promise<void> {
    this.closedWith = error;
    for (const { refuse } of [...this.waiters]) refuse(error);
    if (this.free < this.permits) await new Promise<void>((resolve) => this.idle.add(resolve));
  }

  private turn(limitMs: number): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const settle = (end: () => void) => () => {
        clearTimeout(timer);
        this.waiters.delete(waiter);
        end();
      };
      const waiter: Waiter = { go: settle(resolve), refuse: (error) => settle(() => reject(error))() };
      const expire = () => waiter.refuse(this.timedOut(Math.round(limitMs)));
      const timer = setTimeout(expire, Math.min(Math.max(1, limitMs), TIMER_MS_MAX));
      this.waiters.add(waiter);
    });
  }

  /** The permit goes straight to the first waiter. */
  private release(): void {
    const [next] = this.waiters;
    if (next) {
      next.go();
      return;
    }
    this.free += 1;
    if (this.free === this.permits) for (const resolve of this.idle) resolve();
  }
}

interface Waiter {
  readonly go: () => void;
  readonly refuse: (error: Error) => void;
}
