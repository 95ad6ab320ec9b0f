/** Callers that wait until a decided transaction is settled. */
import { setTimeout as sleep } from 'node:timers/promises';
import { TIMER_MS_MAX } from '../async/with-timeout.js';

/** The interval of the query for all waiting callers of this process. */
const POLL_MS = 25;

/**
 * Waits of readers for settled transactions. One query serves all of them. Nothing here is durable: a reader whose
 * process dies asks again.
 */
export class SettledWaits {
  private readonly waiting = new Map<string, Set<() => void>>();
  private polling = false;

  /** @param unsettled the ids among the given ones whose second phase still runs */
  constructor(private readonly unsettled: (ids: readonly string[]) => Promise<readonly string[]>) {}

  /** Resolves when the transaction is settled or parked, or after `waitMs`. */
  async wait(id: string, waitMs: number): Promise<void> {
    const wakers = this.waiting.get(id) ?? new Set();
    this.waiting.set(id, wakers);
    const limit = new AbortController();
    let wake = (): void => {};
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    wakers.add(wake);
    void this.poll();
    try {
      await Promise.race([
        woken,
        sleep(Math.min(waitMs, TIMER_MS_MAX), undefined, { signal: limit.signal }).catch(() => {}),
      ]);
    } finally {
      limit.abort();
      wakers.delete(wake);
      if (wakers.size === 0) this.waiting.delete(id);
    }
  }

  /** Ends the waits for a row that this process has settled. Readers in other processes find out by their query. */
  wake(id: string): void {
    for (const wake of [...(this.waiting.get(id) ?? [])]) wake();
  }

  private async poll(): Promise<void> {
    if (this.polling) return;
    this.polling = true;
    while (this.waiting.size > 0) {
      await sleep(POLL_MS);
      const ids = [...this.waiting.keys()];
      // While the database is unavailable the callers end by their time limit.
      const open = new Set(await this.unsettled(ids).catch(() => ids));
      for (const id of ids) if (!open.has(id)) this.wake(id);
    }
    this.polling = false;
  }
}
