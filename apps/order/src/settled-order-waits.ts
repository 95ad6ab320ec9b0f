import { type BeforeApplicationShutdown, Injectable, Optional } from '@nestjs/common';
import { Readiness } from 'nest-dtx';
import { DataSource } from 'typeorm';

/** Interval of the query for orders that another instance settled. One query serves all waiters of this process. */
const POLL_MS = 100;

/** Long polling. Callers wait here until their order is final. `LongPolls` bounds their number. */
@Injectable()
export class SettledOrders implements BeforeApplicationShutdown {
  private readonly waiting = new Map<string, Set<() => void>>();
  private timer: NodeJS.Timeout | undefined;
  private stopping = false;

  constructor(
    private readonly db: DataSource,
    @Optional() readiness?: Readiness,
  ) {
    readiness?.stopping.addEventListener('abort', () => this.beforeApplicationShutdown());
  }

  /** Resolves the waits for an order that this process has just settled. */
  wake(orderId: string): void {
    for (const done of [...(this.waiting.get(orderId) ?? [])]) done();
  }

  /**
   * Resolves when the order is final, after `waitMs` milliseconds, when the caller disconnects or when the app stops. Read
   * the order afterwards.
   */
  async wait(orderId: string, waitMs: number, gone: AbortSignal): Promise<void> {
    if (this.stopping || gone.aborted) return;
    const wakers = this.waiting.get(orderId) ?? new Set();
    this.waiting.set(orderId, wakers);
    this.schedule();
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timeout);
        gone.removeEventListener('abort', done);
        if (!wakers.delete(done)) return;
        if (wakers.size === 0) this.waiting.delete(orderId);
        resolve();
      };
      const timeout = setTimeout(done, waitMs);
      gone.addEventListener('abort', done);
      wakers.add(done);
    });
  }

  /** Ends all waits, so that they do not delay a stop. */
  beforeApplicationShutdown(): void {
    this.stopping = true;
    clearTimeout(this.timer);
    for (const orderId of [...this.waiting.keys()]) this.wake(orderId);
  }

  private schedule(): void {
    if (this.timer !== undefined || this.stopping || this.waiting.size === 0) return;
    this.timer = setTimeout(() => void this.look(), POLL_MS);
  }

  private async look(): Promise<void> {
    try {
      const rows: { orderId: string }[] = await this.db.query(
        `SELECT order_id AS orderId FROM orders WHERE order_id IN (?) AND status <> 'PENDING'`,
        [[...this.waiting.keys()]],
      );
      for (const { orderId } of rows) this.wake(orderId);
    } catch {
      // The database is unavailable. Waiting callers end by their time limit, and the next poll retries.
    } finally {
      this.timer = undefined;
      this.schedule();
    }
  }
}
