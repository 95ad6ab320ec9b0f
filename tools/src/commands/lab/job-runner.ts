// The work that the page of the lab has asked for. One piece at a time: two would disturb each other's processes and figures.
import { messageOf } from '../../cli/error-text.js';
import { LabError } from './lab-error.js';

const LINES_MAX = 200;

export type JobKind = 'purchase' | 'comparison' | 'break' | 'scenario' | 'audit' | 'park';

/** As the page sees it. */
export interface JobView {
  readonly id: number;
  readonly kind: JobKind;
  /** What was asked for, such as the name of a failpoint. */
  readonly subject: string;
  readonly state: 'running' | 'done' | 'failed';
  /** The transaction, once it is known. */
  readonly gid: string | null;
  readonly lines: readonly string[];
  readonly progress: { readonly done: number; readonly total: number } | null;
  /** By kind. Null until it is done. */
  readonly result: unknown;
  readonly problem: string | null;
}

/** What the work itself reports. */
export class Job {
  view: JobView;

  constructor(id: number, kind: JobKind, subject: string) {
    this.view = {
      id,
      kind,
      subject,
      state: 'running',
      gid: null,
      lines: [],
      progress: null,
      result: null,
      problem: null,
    };
  }

  readonly say = (line: string): void => {
    this.set({ lines: [...this.view.lines, ...line.split('\n')].slice(-LINES_MAX) });
  };

  readonly found = (gid: string): void => this.set({ gid });
  readonly progress = (done: number, total: number): void => this.set({ progress: { done, total } });

  set(part: Partial<JobView>): void {
    this.view = { ...this.view, ...part };
  }
}

export class JobRunner {
  private job: Job | null = null;
  private count = 0;

  get latest(): JobView | null {
    return this.job?.view ?? null;
  }

  /** @throws LabError 409 while other work runs */
  start(kind: JobKind, subject: string, work: (job: Job) => Promise<unknown>): JobView {
    const running = this.job?.view;
    if (running?.state === 'running')
      throw new LabError(409, `${running.kind} ${running.subject} still runs: wait until it has ended`);
    this.count += 1;
    const job = new Job(this.count, kind, subject);
    this.job = job;
    work(job).then(
      (result) => job.set({ state: 'done', result: result ?? null }),
      (error: unknown) => job.set({ state: 'failed', problem: messageOf(error) }),
    );
    return job.view;
  }
}
