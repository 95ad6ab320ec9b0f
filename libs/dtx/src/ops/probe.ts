import { setTimeout as sleep } from 'node:timers/promises';

export interface ProbeTimes {
  /** How old an answer may be. */
  readonly freshMs: number;
  /** An answer that takes longer is a problem. */
  readonly limitMs: number;
}

/** A question to a server, asked once for all who want to know at the same time, and not more often than it is needed. */
export class Probe {
  private last = '';
  private startedAt = Number.NEGATIVE_INFINITY;
  private endedAt = Number.NEGATIVE_INFINITY;
  private running: Promise<void> | undefined;

  /** @param ask answers what is wrong, or an empty text; what it throws is a problem, too */
  constructor(
    private readonly ask: () => Promise<string>,
    private readonly times: ProbeTimes,
  ) {}

  /** What the last answer was, without asking. */
  get known(): string {
    return this.last;
  }

  /** What is wrong, or an empty text. */
  async problem(): Promise<string> {
    const { freshMs, limitMs } = this.times;
    if (performance.now() - this.endedAt < freshMs) return this.last;
    if (!this.running) {
      this.startedAt = performance.now();
      this.running = this.run();
    }
    const leftMs = Math.max(0, this.startedAt + limitMs - performance.now());
    const isAnswered = this.running.then(() => true);
    if (!(await Promise.race([isAnswered, sleep(leftMs, false, { ref: false })])))
      this.last = `no answer within ${limitMs} ms`;
    return this.last;
  }

  private async run(): Promise<void> {
    try {
      this.last = await this.ask();
    } catch (error) {
      this.last = (error as Error).message || String(error);
    }
    this.endedAt = performance.now();
    this.running = undefined;
  }
}
