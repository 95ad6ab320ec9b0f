import { Unavailable } from 'nest-dtx';

/** Semaphore with a time limit. A call that gets no place within `waitMs` milliseconds fails as unavailable. */
export class FewAtOnce {
  private working = 0;
  private readonly waiting: Array<() => void> = [];

  /** @param what the name of one piece of work in the error */
  constructor(
    private readonly what: string,
    private readonly max: number,
    private readonly waitMs: number,
  ) {}

  /** @throws Unavailable if no place was free for `waitMs`. Nothing was started. */
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

  /** Waits for a place. A leaving call hands its place on, so `working` stays the same. */
  private place(): Promise<void> {
    return new Promise((resolve, reject) => {
      const mine = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.waiting.splice(this.waiting.indexOf(mine), 1);
        const busy = `${this.max} others ran for ${this.waitMs} ms`;
        reject(new Unavailable(`${this.what} not started: ${busy}; nothing was done, retry with the same key`));
      }, this.waitMs);
      this.waiting.push(mine);
    });
  }
}
