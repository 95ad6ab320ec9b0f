import { setTimeout as sleep } from 'node:timers/promises';

/** Runs work at once and then repeatedly, one run at a time, until `stop`. */
export class Periodic {
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();

  /** @param failed receives each error of the work. The next run follows all the same. */
  constructor(
    private readonly everyMs: number,
    private readonly work: (stopping: AbortSignal) => Promise<void>,
    private readonly failed: (error: unknown) => void,
  ) {}

  start(): void {
    this.running = this.run();
  }

  /** Runs the work once, apart from the repetition. @throws the error of the work */
  async runOnce(signal: AbortSignal): Promise<void> {
    await this.work(AbortSignal.any([signal, this.stopping.signal]));
  }

  /** Stops the repetition and waits for the current run. */
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
