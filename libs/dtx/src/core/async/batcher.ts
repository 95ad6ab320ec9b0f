/**
 * Collects items for a short time and flushes them together: one statement or one message instead of many. Each `add`
 * resolves or rejects with the flush of its item. Only one flush runs at a time, so a slow flush makes the next batch
 * larger. If the process dies, waiting items are lost. Callers acknowledge only after `add` resolves.
 */
export class Batcher<T> {
  private waiting: Array<{ item: T; resolve: () => void; reject: (error: unknown) => void }> = [];
  private timer: NodeJS.Timeout | undefined;
  private flushing: Promise<void> | undefined;

  constructor(
    private readonly options: { delayMs: number; batchMax: number },
    private readonly flushItems: (items: T[]) => Promise<void>,
  ) {}

  add(item: T): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ item, resolve, reject });
      if (this.waiting.length >= this.options.batchMax) void this.flush();
      else this.timer ??= setTimeout(() => void this.flush(), this.options.delayMs);
    });
  }

  /** Removes the items that no longer need a flush. Their `add` resolves. */
  drop(isObsolete: (item: T) => boolean): void {
    const obsolete = this.waiting.filter(({ item }) => isObsolete(item));
    if (obsolete.length === 0) return;
    this.waiting = this.waiting.filter(({ item }) => !isObsolete(item));
    for (const { resolve } of obsolete) resolve();
  }

  /** Flushes all waiting items, and waits for a running flush. */
  async drain(): Promise<void> {
    while (this.waiting.length > 0 || this.flushing) await this.flush();
  }

  private async flush(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.flushing) return this.flushing;
    this.flushing = this.flushOnce().finally(() => {
      this.flushing = undefined;
      if (this.waiting.length > 0) this.timer ??= setTimeout(() => void this.flush(), 0);
    });
    return this.flushing;
  }

  private async flushOnce(): Promise<void> {
    const batch = this.waiting.splice(0, this.options.batchMax);
    if (batch.length === 0) return;
    try {
      await this.flushItems(batch.map(({ item }) => item));
      for (const { resolve } of batch) resolve();
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
