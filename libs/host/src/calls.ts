import { setTimeout as sleep } from 'node:timers/promises';

const LOOK_EVERY_MS = 10;

/** The calls that an app has not answered yet. */
export class Calls {
  private underWay = 0;
  private ending = false;

  begun(): void {
    this.underWay++;
  }

  ended(): void {
    this.underWay--;
  }

  /** True from the signal to stop on: each answer is then the last one on its connection. */
  get areEnding(): boolean {
    return this.ending;
  }

  /** Resolves at the first moment without a call under way, and after `withinMs` in any case. */
  async end(withinMs: number): Promise<void> {
    this.ending = true;
    for (const end = performance.now() + withinMs; this.underWay > 0 && performance.now() < end; )
      await sleep(LOOK_EVERY_MS);
  }
}
