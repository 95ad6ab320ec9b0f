import { BrokerUnavailable } from '../errors/errors.js';

/** Lets so many do something at once. The others wait for a place, in order and for a limited time. */
export class Window {
  private inside = 0;
  private readonly waiting = new Set<() => void>();

  /** `full`: what is told to one that has waited in vain, given for how many milliseconds. */
  constructor(
    private readonly placesMax: number,
    private readonly full: (limitMs: number) => string,
  ) {}

  /** Resolves with a place. @throws BrokerUnavailable when there is none within so many milliseconds: nothing was sent */
  async enter(limitMs: number): Promise<void> {
    if (this.inside < this.placesMax) {
      this.inside += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const go = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(
        () => {
          this.waiting.delete(go);
          reject(new BrokerUnavailable(this.full(Math.round(limitMs))));
        },
        Math.max(1, limitMs),
      );
      this.waiting.add(go);
    });
  }

  /** The place goes to who has waited longest: how many are inside stays what it is. */
  leave(): void {
    const [next] = this.waiting;
    if (!next) {
      this.inside -= 1;
      return;
    }
    this.waiting.delete(next);
    next();
  }
}
