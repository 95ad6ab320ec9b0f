// Step 5 of 5 - inquire: whoever was to be told and was not asks; notification is best effort, asking makes it certain.

import { Inject, Injectable, Logger, OnModuleDestroy } from '@nestjs/common';
import { inTimeOf } from '../core/async/time-limit.js';
import { Database } from '../core/database/database.service.js';
import { textOf } from '../core/errors/errors.js';
import { isUnavailable } from '../core/errors/sql-errors.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { NOTIFY_OPTIONS, type NotifyOptions } from './options.js';

/** What is asked about, by the receiver of notifications. */
export interface Inquiries {
  readonly name: string;
  /** Ids whose result should have come by now and has not; the next ones at each call, from the beginning after the last. */
  missing(about: { olderThanMs: number; limit: number }): Promise<string[]>;
  /** Where the answer to an id is: 200 with the result, or 404 when there is none (yet). */
  urlOf(id: string): string;
  keep(id: string, result: unknown): Promise<void>;
  /** There is no result, or not yet. */
  none(id: string): Promise<void>;
}

type Outcome = 'known' | 'none' | 'away';

const ROUND_MAX = 100;
const AT_ONCE_MAX = 8;

/** Asks, in rounds, for as long as the process lives. Several instances may ask the same: what is kept is kept once. */
@Injectable()
export class Inquiry implements OnModuleDestroy {
  private readonly logger = new Logger('Inquiry');
  private readonly stopping = new AbortController();
  private readonly running = new Set<Promise<void>>();
  private readonly timers = new Map<Inquiries, NodeJS.Timeout>();

  constructor(
    private readonly database: Database,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions,
  ) {}

  /** Begins to ask, once the database is there. */
  start(inquiries: Inquiries): void {
    this.database.onReady(() => this.schedule(inquiries));
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
    try {
      const about = { olderThanMs: this.options.askAfterMs, limit: ROUND_MAX };
      const ids = await this.inTime(inquiries, 'missing', () => inquiries.missing(about));
      for (let at = 0; at < ids.length && !this.stopping.signal.aborted; at += AT_ONCE_MAX) {
        const outcomes = await Promise.all(ids.slice(at, at + AT_ONCE_MAX).map((id) => this.ask(inquiries, id)));
        // Nobody answers: the others would wait as long for nothing.
        if (outcomes.every((outcome) => outcome === 'away')) return;
      }
    } catch (error) {
      if (!isUnavailable(error)) this.logger.error(`${inquiries.name}: ${textOf(error)}`);
    }
  }

  private async ask(inquiries: Inquiries, id: string): Promise<Outcome> {
    const signal = AbortSignal.any([this.stopping.signal, AbortSignal.timeout(this.options.callTimeoutMs)]);
    let answer: { status: number; result: unknown };
    try {
      const response = await fetch(inquiries.urlOf(id), { redirect: 'manual', signal });
      answer = { status: response.status, result: response.ok ? await response.json() : await response.body?.cancel() };
    } catch (error) {
      if (!this.stopping.signal.aborted) this.logger.warn(`${inquiries.name} ${id}: ${textOf(error)}`);
      return 'away';
    }
    if (answer.status === 200) await this.inTime(inquiries, 'keep', () => inquiries.keep(id, answer.result));
    else if (answer.status === 404) await this.inTime(inquiries, 'none', () => inquiries.none(id));
    else {
      this.logger.warn(`${inquiries.name} ${id}: answered ${answer.status}`);
      return 'away';
    }
    return answer.status === 200 ? 'known' : 'none';
  }

  /** Code of the user's: a round that hangs would be the last one. */
  private inTime<T>({ name }: Inquiries, step: string, work: () => Promise<T>): Promise<T> {
    return inTimeOf({ what: `${step} of the inquiries ${name}`, limitMs: this.core.handlerTimeoutMs }, work);
  }
}
