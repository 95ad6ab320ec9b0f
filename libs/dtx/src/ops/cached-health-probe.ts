import { setTimeout as sleep } from 'node:timers/promises';

export interface ProbeTimes {
  /** Age up to which an answer is reused. */
  readonly freshMs: number;
  /** Time limit of an answer. A slower answer is a problem. */
  readonly limitMs: number;
}

/** Health check of a server. Concurrent callers share one check, and a fresh answer is reused. */
export class Probe {
  private last = '';
  private startedAt = Number.NEGATIVE_INFINITY;
  private endedAt = Number.NEGATIVE_INFINITY;
  private running: Promise<void> | undefined;

  /** @param ask resolves with the problem, or with an empty text. An error it throws is a problem as well. */
  constructor(
    private readonly ask: () => Promise<string>,
    private readonly times: ProbeTimes,
  ) {}

  /** The last known problem, or an empty text. Does not start a check. */
  get known(): string {
    return this.last;
  }

  /** Resolves with the problem, or with an empty text. */
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
