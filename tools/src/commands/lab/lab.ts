// The lab: buy, compare, break and audit from a page. It answers from the first moment of the demo, and works once the apps run.
import type { AppEvent } from '../../process/supervisor.js';
import { DATABASES } from '../../servers/server-set.js';
import { SCHEMES } from '../../shop/purchase.js';
import { AppEventQueue } from '../break/app-event-queue.js';
import { passOn, proxiedPath } from './app-proxy.js';
import { breakPoint } from './break-job.js';
import { compare } from './comparison-job.js';
import { Happenings } from './happenings.js';
import { LabHttpServer, type Routes } from './http-server.js';
import { JobRunner } from './job-runner.js';
import { LabError } from './lab-error.js';
import { park } from './park-job.js';
import { purchase } from './purchase-job.js';
import { readMode, readPoint, readScheme, readWanted } from './request-bodies.js';
import { playAudit, playScenario } from './scenario-job.js';
import { schemesWithPoints } from './scheme-list.js';
import { type LabTarget, NO_PROCESSES } from './target.js';

const LINES_KEPT = 100;

export interface LabOptions {
  readonly token: string;
  /** 0: any free one. */
  readonly port: number;
  /** The default is the loopback. */
  readonly host?: string;
}

export class Lab {
  private http: LabHttpServer | null = null;
  private target: LabTarget | null = null;
  private lines: string[] = [];
  private events = new AppEventQueue();
  private readonly happenings = new Happenings();
  private readonly jobs = new JobRunner();

  /** @throws OperatorError if the port is taken */
  static async start({ token, port, host }: LabOptions): Promise<Lab> {
    const lab = new Lab();
    lab.http = await LabHttpServer.start({
      token,
      port,
      host,
      routes: lab.routes(),
      passOn: (url, request, response) => {
        const to = proxiedPath(url);
        return to && passOn(to, { request, response }, lab.ready);
      },
    });
    return lab;
  }

  get url(): string {
    if (!this.http) throw new Error('the lab does not listen yet');
    return this.http.url;
  }

  /** A line of the demo, shown while it starts. */
  note(line: string): void {
    this.lines = [...this.lines, ...line.split('\n')].slice(-LINES_KEPT);
  }

  /** A change of an app. */
  tell(event: AppEvent): void {
    this.events.add(event);
    const { kind, app, pid, at, how } = event;
    this.happenings.add({ kind, app, pid, at, how });
  }

  /** From now on the page can buy, break and audit. */
  serve(target: LabTarget): void {
    this.target = target;
  }

  async close(): Promise<void> {
    await this.http?.close();
  }

  private get ready(): LabTarget {
    if (this.target) return this.target;
    throw new LabError(503, 'the demo is still starting, or makes its own purchases: wait until it serves');
  }

  private routes(): Routes {
    const { jobs } = this;
    return {
      'GET /api/status': () => this.status(),
      'GET /api/schemes': () => ({ schemes: schemesWithPoints(), purchases: Object.keys(SCHEMES) }),
      'POST /api/purchases': (body) => {
        const [target, scheme, wanted] = [this.ready, readScheme(body), readWanted(body)];
        return jobs.start('purchase', scheme, (job) => purchase(target, { scheme, wanted }, job));
      },
      'POST /api/comparisons': (body) => {
        const [target, wanted] = [this.ready, readWanted(body)];
        return jobs.start('comparison', `${wanted.quantity} x ${wanted.sku}`, (job) => compare(target, wanted, job));
      },
      'POST /api/breaks': (body) => this.startBreak(body),
      'POST /api/scenarios': () => {
        const target = this.ready;
        return jobs.start('scenario', '', (job) => playScenario(target, job));
      },
      'POST /api/audits': () => {
        const target = this.ready;
        return jobs.start('audit', '', (job) => playAudit(target, job));
      },
      'POST /api/parkings': () => {
        const target = this.ready;
        return jobs.start('park', '', (job) => park(target, job));
      },
    };
  }

  private startBreak(body: unknown) {
    const [target, point, mode] = [this.ready, readPoint(body), readMode(body)];
    const { processes } = target;
    if (!processes) throw new LabError(409, NO_PROCESSES);
    return this.jobs.start('break', `${mode} ${point.name}`, (job) => {
      this.events = new AppEventQueue(); // events of an earlier break are not those of this one
      const { events } = this;
      return breakPoint(target, processes, { point, mode, job, events, record: (one) => this.happenings.add(one) });
    });
  }

  private status() {
    const living = this.target?.processes?.living() ?? [];
    return {
      isServing: this.target !== null,
      whyNoBreaks: this.target && !this.target.processes ? NO_PROCESSES : null,
      lines: this.lines,
      apps: DATABASES.map((name) => ({
        name,
        url: this.target?.urls[name] ?? null,
        state: this.happenings.stateOf(name),
        pids: living.filter((one) => one.name === name).map(({ pid }) => pid),
      })),
      happenings: this.happenings.list,
      job: this.jobs.latest,
    };
  }
}
