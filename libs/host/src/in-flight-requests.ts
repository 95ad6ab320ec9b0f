import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_EVERY_MS = 10;

/** Counts the calls that an app has not answered yet. */
export class Calls {
  private underWay = 0;
  private ending = false;

  begun(): void {
    this.underWay++;
  }

  ended(): void {
    this.underWay--;
  }

  /** True from the stop signal on. Each answer then closes its connection. */
  get areEnding(): boolean {
    return this.ending;
  }

  /** Resolves as soon as no call is in progress, or after `withinMs` milliseconds. */
  async end(withinMs: number): Promise<void> {
    this.ending = true;
    for (const end = performance.now() + withinMs; this.underWay > 0 && performance.now() < end; )
      await sleep(LOOK_EVERY_MS);
  }
}
