// Step 5 of 5 - inquire: a receiver without a notification asks for the result, since notification is best effort. If
// the process dies in a round, the next round of any instance asks for results that are still missing.

import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { abortedWithin } from '../core/async/time-limited-signal.js';
import { inTimeOf } from '../core/async/user-code-time-limit.js';
import { Database } from '../core/database/database.service.js';
import { BackgroundWork } from '../core/durable/background-work.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { InquiryFailures } from './inquiry-failures.js';
import { NOTIFY_OPTIONS, type NotifyOptions } from './options.js';

/** The inquiries of a receiver of notifications. Its methods must be idempotent, since several instances may run them. */
export interface Inquiries {
  /** Name in log lines. */
  readonly name: string;
  /** Ids whose result is overdue. Each call returns the next ids, and starts over after the last one. */
  missing(about: { olderThanMs: number; limit: number }): Promise<string[]>;
  /** URL of the result of an id. It answers 200 with the result as JSON, or 404 without a result (yet). */
  urlOf(id: string): string;
  /** Stores the result of a 200 answer. */
  keep(id: string, result: unknown): Promise<void>;
  /** Called after a 404 answer. */
  none(id: string): Promise<void>;
}

/** A call for one id, and the target that it went to. */
interface Call {
  readonly origin: string;
  readonly isAnswered: boolean;
}

const ROUND_MAX = 100;
const AT_ONCE_MAX = 8;

/**
 * Runs inquiries in rounds until the process stops. Nothing is stored about a round, so a restart begins a new one. Several
 * instances may ask for the same id.
 * @example
 *   this.inquiry.start({ name: 'payments', missing, urlOf, keep, none });
 */
@Injectable()
export class Inquiry implements OnModuleDestroy {
  private readonly logger = libraryLogger('inquiry');
  private readonly stopping = new AbortController();
  private readonly running = new Set<Promise<void>>();
  private readonly timers = new Map<Inquiries, NodeJS.Timeout>();

  /** @internal */
  constructor(
    private readonly database: Database,
    private readonly background: BackgroundWork,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions,
  ) {}

  /** Starts the rounds as soon as the database is open. With `relay: false`, only `BackgroundWork.runOnce` runs one. */
  start(inquiries: Inquiries): void {
    const name = `inquiries ${inquiries.name}`;
    this.background.register({ name, phase: 'check', runOnce: () => this.round(inquiries).then(() => 0) });
    if (this.background.isContinuous) this.database.onReady(() => this.schedule(inquiries));
  }

  async onModuleDestroy(): Promise<void> {
    this.stopping.abort();
    for (const timer of this.timers.values()) clearTimeout(timer);
    await Promise.all(this.running);
  }

  private schedule(inquiries: Inquiries): void {
    if (this.stopping.signal.aborted) return;
    const delayMs = this.options.askIntervalMs * (0.8 + Math.random() * 0.4);
    const timer = setTimeout(() => {
      const round: Promise<void> = this.round(inquiries).finally(() => {
        this.running.delete(round);
        this.schedule(inquiries);
      });
      this.running.add(round);
    }, delayMs);
    this.timers.set(inquiries, timer);
  }

  private async round(inquiries: Inquiries): Promise<void> {
    const failures = new InquiryFailures(inquiries.name, this.logger, this.stopping.signal);
    try {
      const about = { olderThanMs: this.options.askAfterMs, limit: ROUND_MAX };
      const ids = await this.inTime(inquiries, 'missing', () => inquiries.missing(about));
      const silent = new Set<string>();
      for (let at = 0; at < ids.length && !this.stopping.signal.aborted; at += AT_ONCE_MAX) {
        const asked = ids.slice(at, at + AT_ONCE_MAX).map((id) => this.ask(inquiries, id, { failures, silent }));
        for (const origin of silentIn(await Promise.all(asked))) silent.add(origin);
      }
    } catch (error) {
      if (!isUnavailable(error))
        this.logger.error(`inquiry round "${inquiries.name}" failed, retrying: ${textOf(error)}`);
    }
    failures.end();
  }

  /** Asks for one id. Any status is an answer. Never throws. */
  private async ask(
    inquiries: Inquiries,
    id: string,
    { failures, silent }: { failures: InquiryFailures; silent: ReadonlySet<string> },
  ): Promise<Call | undefined> {
    const url = await failures.attempt('urlOf', id, () => new URL(inquiries.urlOf(id)));
    if (!url || silent.has(url.origin)) return undefined;
    const { origin } = url;
    const signal = abortedWithin(this.stopping.signal, this.options.callTimeoutMs);
    const response = await failures.attempt('call', id, () => fetch(url, { redirect: 'manual', signal }));
    if (!response) return { origin, isAnswered: false };
    await this.take(inquiries, { id, response }, failures);
    return { origin, isAnswered: true };
  }

  private async take(
    inquiries: Inquiries,
    { id, response }: { id: string; response: Response },
    failures: InquiryFailures,
  ): Promise<void> {
    if (response.status === 200) {
      const answer = await failures.attempt('answer', id, async () => ({ result: await response.json() }));
      const keep = () => inquiries.keep(id, answer?.result);
      if (answer) await failures.attempt('keep', id, () => this.inTime(inquiries, 'keep', keep));
      return;
    }
    await response.body?.cancel().catch(() => {});
    if (response.status !== 404) return failures.addStatus(id, response.status);
    await failures.attempt('none', id, () => this.inTime(inquiries, 'none', () => inquiries.none(id)));
  }

  /** Bounds user code, since a hanging round would stop all later rounds. */
  private inTime<T>({ name }: Inquiries, step: string, work: () => Promise<T>): Promise<T> {
    return inTimeOf({ what: `${step} of the inquiries ${name}`, limitMs: this.core.handlerTimeoutMs }, work);
  }
}

/**
 * Targets of which no call was answered. The round asks them nothing more. A failed id alone does not hide those behind it,
 * and a target does not hide another one.
 */
function silentIn(calls: ReadonlyArray<Call | undefined>): string[] {
  const made = calls.filter((call) => call !== undefined);
  const answered = new Set(made.filter(({ isAnswered }) => isAnswered).map(({ origin }) => origin));
  return made.map(({ origin }) => origin).filter((origin) => !answered.has(origin));
}
