import { Unavailable } from 'nest-dtx';

/** Lets a few calls work at once. Others wait for a moment, and are then told to come again. */
export class FewAtOnce {
  private working = 0;
  private readonly waiting: Array<() => void> = [];

  constructor(
    private readonly max: number,
    private readonly waitMs: number,
  ) {}

  /** @throws Unavailable when there was no place for `waitMs`: nothing was begun */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.working >= this.max) await this.place();
    else this.working++;
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.working--;
    }
  }

  /** Who leaves hands its place on, so it stays counted. */
  private place(): Promise<void> {
    return new Promise((resolve, reject) => {
      const mine = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.waiting.splice(this.waiting.indexOf(mine), 1);
        reject(new Unavailable(`${this.max} calls were at work for ${this.waitMs} ms`));
      }, this.waitMs);
      this.waiting.push(mine);
    });
  }
}
