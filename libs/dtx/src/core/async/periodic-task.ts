import { setTimeout as sleep } from 'node:timers/promises';

/** Work that is done at once and then again and again, one at a time, until it is stopped. */
export class Periodic {
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();

  /** @param failed told what the work throws, which ends nothing but that one time */
  constructor(
    private readonly everyMs: number,
    private readonly work: (stopping: AbortSignal) => Promise<void>,
    private readonly failed: (error: unknown) => void,
  ) {}

  start(): void {
    this.running = this.run();
  }

  /** Waits for the work that is under way. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      await this.work(signal).catch(this.failed);
      await sleep(this.everyMs, undefined, { signal, ref: false }).catch(() => {});
    }
  }
}
