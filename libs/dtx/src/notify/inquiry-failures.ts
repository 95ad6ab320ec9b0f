import { printable } from '../core/broker/printable.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';

/** The steps of one inquiry. `call` and `answer` fail at the target, the other steps in the code of the receiver. */
type Step = 'urlOf' | 'call' | 'answer' | 'keep' | 'none';

/**
 * Lines of one step in one round. A step may fail for every id of every round, so further failures are counted. Each step
 * has its own number, so that an error of `keep` is logged behind many answers with 500.
 */
const LINES_MAX = 8;

const WHAT: Record<Step, string> = {
  urlOf: 'urlOf',
  call: 'no answer',
  answer: 'answered 200 with an unreadable result',
  keep: 'keep',
  none: 'none',
};

interface Log {
  warn(line: string): void;
  error(line: string): void;
}

/** The failed inquiries of one round. They are logged and do not end the round. */
export class InquiryFailures {
  private readonly counts = new Map<Step, number>();

  /** @param stopping is aborted when the process stops. Calls that it ends are not failures. */
  constructor(
    private readonly name: string,
    private readonly log: Log,
    private readonly stopping: AbortSignal,
  ) {}

  /** Runs a step for an id. Returns undefined if it fails. */
  async attempt<T>(step: Step, id: string, work: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.add(step, id, error);
      return undefined;
    }
  }

  /** The target answered with a status that says nothing about the result. */
  addStatus(id: string, status: number): void {
    this.say('answer', id, `answered ${status}`, 'warn');
  }

  /** Logs the number of failures without a line of their own. */
  end(): void {
    let more = 0;
    for (const count of this.counts.values()) more += Math.max(0, count - LINES_MAX);
    if (more > 0) this.log.warn(`inquiry "${this.name}": ${more} more ids failed in this round, retrying`);
  }

  private add(step: Step, id: string, error: unknown): void {
    const isOfTarget = step === 'call' || step === 'answer';
    if (isOfTarget && this.stopping.aborted) return;
    // The message of a failed fetch is the same for every reason.
    const reason = step === 'call' ? ((error as Error | undefined)?.cause ?? error) : error;
    const level = isOfTarget || isUnavailable(error) ? 'warn' : 'error';
    this.say(step, id, `${WHAT[step]}: ${textOf(reason)}`, level);
  }

  private say(step: Step, id: string, text: string, level: 'warn' | 'error'): void {
    const count = (this.counts.get(step) ?? 0) + 1;
    this.counts.set(step, count);
    if (count > LINES_MAX) return;
    const shown = printable(Buffer.from(String(id)));
    this.log[level](`inquiry "${this.name}" for ${shown} failed, retrying: ${text}`);
  }
}
