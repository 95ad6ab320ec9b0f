/** The longest delay of a Node timer, in milliseconds. */
const TIMER_MS_MAX = 2_147_483_647;

/** Bounds the number of concurrent pieces of work. Further callers wait in order, each for a limited time. */
export class Semaphore {
  private free: number;
  private readonly waiters = new Set<Waiter>();
  private readonly idle = new Set<() => void>();
  private closedWith: Error | undefined;

  /** @param timedOut makes the error for a caller that waited `limitMs` without a permit. Its work has not begun. */
  constructor(
    private readonly permits: number,
    private readonly timedOut: (limitMs: number) => Error,
  ) {
    this.free = permits;
  }

  /** The number of callers that wait for a permit. */
  get waiting(): number {
    return this.waiters.size;
  }

  /**
   * Waits for a permit. Resolves with the function that releases it. A second call of that function does nothing.
   * @throws the error of `timedOut`
   */
  async acquire(limitMs: number): Promise<() => void> {
    return this.tryAcquire() ?? this.turn(limitMs).then(() => this.held());
  }

  /** A free permit at once: the function that releases it. Undefined if none is free. @throws the error of `close` */
  tryAcquire(): (() => void) | undefined {
    if (this.closedWith) throw this.closedWith;
    if (this.free === 0) return undefined;
    this.free -= 1;
    return this.held();
  }

  private held(): () => void {
    let isHeld = true;
    return () => {
      if (isHeld) this.release();
      isHeld = false;
    };
  }

  /** Runs the work with a permit. @throws the error of `timedOut`, or of the work */
  async within<T>(limitMs: number, work: () => Promise<T>): Promise<T> {
    const release = this.tryAcquire() ?? (await this.acquire(limitMs));
    try {
      return await work();
    } finally {
      release();
    }
  }

  /** Rejects the waiting callers and all later ones with this error. Resolves when every permit is released. */
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

  /** Passes the permit directly to the first waiter. */
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
