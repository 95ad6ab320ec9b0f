import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { Periodic } from '../async/periodic-task.js';
import { abortedWithin } from '../async/time-limited-signal.js';
import { Broker } from '../broker/broker.service.js';
import { Database } from '../database/database.service.js';
import { BrokerUnavailable, DatabaseUnavailable, textOf } from '../errors/errors.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import type { CoreOptions } from '../options.js';

/** The phases of a pass, in order. Receipts come first, because they end rows that a scan would send again. */
const PHASES = ['receive', 'scan', 'check', 'purge'] as const;

/** One kind of background work, such as the scan of a table. */
export interface BackgroundTask {
  /** Name in the summary. */
  readonly name: string;
  readonly phase: (typeof PHASES)[number];
  /** False while a dependency of the work is unavailable. Always ready without it. */
  isReady?(): boolean;
  /**
   * Works until nothing is due or `until` is aborted. Resolves to the number of rows or messages.
   */
  runOnce(until: AbortSignal): Promise<number>;
}

/** The result of `BackgroundWork.runOnce`. */
export interface BackgroundSummary {
  /** Number of rows or messages, by task. Only tasks with some. */
  readonly worked: Readonly<Record<string, number>>;
  /** The last error, by task. The next run tries again. */
  readonly failed: Readonly<Record<string, string>>;
  /** False if the time limit ended the run, a task failed, or a dependency of a task was unavailable. */
  readonly isComplete: boolean;
}

const POLL_MS = 10;
/** How long a run waits in milliseconds for a task whose dependency is unavailable. */
const NOT_READY_MS = 5_000;

/**
 * The background work of this instance: scans, resends, receipts, check-back, recovery, checks and purges. With
 * `relay: true` it runs all the time. With `relay: false` it runs only in `runOnce`, for serverless functions and cron
 * jobs. The rows are the durable state. If the process dies in a run, the next run of any instance continues.
 */
@Injectable()
export class BackgroundWork implements OnModuleDestroy {
  private readonly tasks: BackgroundTask[] = [];
  private readonly stopping = new AbortController();
  private running: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  /** Whether background work runs all the time in this instance. */
  get isContinuous(): boolean {
    return this.options.relay;
  }

  /** Adds a task to each `runOnce`. */
  register(task: BackgroundTask): void {
    this.tasks.push(task);
  }

  /** Registers periodic work, and starts it if background work runs all the time. */
  startPeriodic(name: string, work: Periodic): void {
    this.register({ name, phase: 'check', runOnce: (until) => work.runOnce(until).then(() => 0) });
    if (this.isContinuous) work.start();
  }

  /**
   * Runs all background work until nothing is due. Rows whose retry is due later, or whose lease belongs to another
   * instance, are left to a later run. Queues of messages are not consumed.
   * @param limitMs time limit in milliseconds. Rows in work at the limit are finished by the stop of the application.
   * @throws DatabaseUnavailable, BrokerUnavailable without a connection within `limitMs`
   * @example
   *   const app = await NestFactory.createApplicationContext(AppModule); // DtxModule.forRoot({ relay: false, ... })
   *   const { isComplete, failed } = await app.get(BackgroundWork).runOnce({ limitMs: 50_000 });
   *   await app.close();
   */
  async runOnce({ limitMs = 60_000 }: { limitMs?: number } = {}): Promise<BackgroundSummary> {
    const until = abortedWithin(this.stopping.signal, limitMs);
    // Each task listens.
    setMaxListeners(0, until);
    const run = this.running.then(() => this.runUntil(until, limitMs));
    this.running = run.catch(() => {});
    return run;
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async runUntil(until: AbortSignal, limitMs: number): Promise<BackgroundSummary> {
    const within = `within limitMs (${limitMs} ms)`;
    if (!(await holds(() => this.database.ready, until)))
      throw new DatabaseUnavailable(
        'cannot run background work',
        this.database.problem || `database not open ${within}`,
      );
    if (!(await holds(() => this.broker.isUp, until)))
      throw new BrokerUnavailable(`cannot run background work: no connection to RabbitMQ ${within}`);
    const worked: Record<string, number> = {};
    const failed: Record<string, string> = {};
    const patience = abortedWithin(until, NOT_READY_MS);
    await holds(() => this.tasks.every(isReady), patience);
    for (let rows = 1; rows > 0 && !until.aborted; ) {
      rows = 0;
      for (const phase of PHASES) {
        const tasks = this.tasks.filter((task) => task.phase === phase && isReady(task));
        const counts = await Promise.all(tasks.map((task) => this.runTask(task, until, { worked, failed })));
        for (const count of counts) rows += count;
      }
    }
    const isComplete = !until.aborted && Object.keys(failed).length === 0 && this.tasks.every(isReady);
    return { worked, failed, isComplete };
  }

  private async runTask(
    task: BackgroundTask,
    until: AbortSignal,
    { worked, failed }: { worked: Record<string, number>; failed: Record<string, string> },
  ): Promise<number> {
    if (until.aborted) return 0;
    try {
      const rows = await Promise.race([task.runOnce(until), aborted(until)]);
      if (rows > 0) worked[task.name] = (worked[task.name] ?? 0) + rows;
      return rows;
    } catch (error) {
      failed[task.name] = textOf(error);
      return 0;
    }
  }
}

/** Resolves to 0 at the time limit. The task ends its rows in work and takes no more. */
function aborted(until: AbortSignal): Promise<number> {
  return new Promise((resolve) => until.addEventListener('abort', () => resolve(0), { once: true }));
}

function isReady(task: BackgroundTask): boolean {
  return task.isReady?.() ?? true;
}

/** Waits until the condition holds. Resolves to whether it does. */
async function holds(condition: () => boolean, until: AbortSignal): Promise<boolean> {
  while (!condition() && !until.aborted) await sleep(POLL_MS);
  return condition();
}
