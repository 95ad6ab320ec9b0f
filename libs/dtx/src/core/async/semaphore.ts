import { OutcomeUnknown } from '../errors/errors.js';

/** There was no place in time: the work was not begun, and will not be. */
export class NoPlace extends OutcomeUnknown {}

/** Bounds how much work of one kind is under way. The rest waits for a place, in order and for a limited time. */
export class Places {
  private free: number;
  private readonly waiting = new Set<() => void>();

  constructor(
    private readonly what: string,
    placesMax: number,
  ) {
    this.free = placesMax;
  }

  /** @throws NoPlace when there is none within `limitMs`, and what the work throws */
  async within<T>(limitMs: number, work: () => Promise<T>): Promise<T> {
    await this.enter(limitMs);
    try {
      return await work();
    } finally {
      this.leave();
    }
  }

  private async enter(limitMs: number): Promise<void> {
    if (this.free > 0) {
      this.free -= 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const go = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.waiting.delete(go);
        reject(new NoPlace(`${this.what}: no place within ${Math.round(limitMs)} ms, not begun`));
      }, limitMs);
      this.waiting.add(go);
    });
  }

  /** The place goes to the work that has waited longest. */
  private leave(): void {
    const [next] = this.waiting;
    if (!next) {
      this.free += 1;
      return;
    }
    this.waiting.delete(next);
    next();
  }
}
