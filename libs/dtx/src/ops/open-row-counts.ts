import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { SidePool } from '../core/database/slow-read-pool.js';
import { Operations, type OperationsSource, type SummaryRow } from '../core/durable/operations-registry.js';
import { OPS_OPTIONS, type OpsOptions } from './options.js';

/** Longest wait of a caller for a due count, without recent figures or after an action of an operator. */
const CALLER_WAIT_MS = 700;
/** Longest wait of a caller who can have recent figures. Counts of small tables end within it. */
const GLANCE_MS = 75;
/** Largest age of recent figures. Without callers the tables are counted twice in this time. */
const RECENT_MS = 60_000;
/** The pause after a count is this multiple of its duration, so counting uses at most a sixth of one connection. */
const REST_TIMES = 5;

/** The figures of a source, with the time of the count by `performance.now()`. */
interface Counted {
  readonly rows: readonly SummaryRow[];
  readonly at: number;
}

/**
 * Counts open rows of all tables. All callers share one count at a time, on a separate connection. The server ends a count
 * after `countLimitMs`, and callers then get the previous figures with their age.
 */
@Injectable()
export class Counts implements OnModuleInit, OnApplicationShutdown {
  private readonly known = new Map<OperationsSource, Counted>();
  private readonly pool: SidePool;
  private running: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private dueAt = Number.NEGATIVE_INFINITY;
  /** An operator has changed rows since the last complete count began. */
  private isChanged = false;
  private failure: unknown;

  constructor(
    private readonly database: Database,
    private readonly operations: Operations,
    @Inject(OPS_OPTIONS) private readonly options: OpsOptions,
  ) {
    this.pool = new SidePool(database.source, { size: 1, limitMs: options.countLimitMs, names: database.names });
  }

  /** Starts the first count early, and keeps the figures recent, so that every caller finds some. */
  onModuleInit(): void {
    this.database.onReady(() => this.begin());
    this.timer = setInterval(() => performance.now() >= this.dueAt && this.begin(), RECENT_MS / 2).unref();
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.pool.end();
  }

  /** Returns the known figures after a short wait for a due count. A source without a successful count is missing. */
  async read(): Promise<Array<SummaryRow & { ageMs: number }>> {
    const end = performance.now() + (this.hasRecent ? GLANCE_MS : CALLER_WAIT_MS);
    for (let now = performance.now(); now < end && (this.running || now >= this.dueAt); now = performance.now()) {
      this.begin();
      await Promise.race([this.running, sleep(end - now, undefined, { ref: false })]);
    }
    const now = performance.now();
    return [...this.known.values()].flatMap(({ rows, at }) =>
      rows.map((row) => ({ ...row, ageMs: Math.round(now - at) })),
    );
  }

  /** As `read`, for callers that need figures. @throws the error of the last count if no figures are known */
  async readOrFail(): Promise<Array<SummaryRow & { ageMs: number }>> {
    const rows = await this.read();
    if (this.known.size === 0 && this.failure) throw this.failure;
    return rows;
  }

  /** Makes the next caller start a new count, since an operator has changed rows. */
  forget(): void {
    this.dueAt = Number.NEGATIVE_INFINITY;
    this.isChanged = true;
  }

  private get hasRecent(): boolean {
    const since = performance.now() - RECENT_MS;
    return (
      !this.isChanged &&
      this.operations.sources.every((one) => (this.known.get(one)?.at ?? Number.NEGATIVE_INFINITY) > since)
    );
  }

  private begin(): void {
    if (this.running) return;
    this.dueAt = Number.POSITIVE_INFINITY;
    this.running = this.count().finally(() => {
      this.running = undefined;
    });
  }

  private async count(): Promise<void> {
    const since = performance.now();
    for (const source of this.operations.sources) await this.countOne(source);
    const now = performance.now();
    // Otherwise `forget` was called during the count, and the figures may miss that change.
    if (this.dueAt !== Number.POSITIVE_INFINITY) return;
    this.isChanged = false;
    this.dueAt = now + Math.max(this.options.countsFreshMs, REST_TIMES * (now - since));
  }

  /** Counts one table. An error leaves the figures of the other tables as they are. */
  private async countOne(source: OperationsSource): Promise<void> {
    const at = performance.now();
    try {
      if (!this.database.ready)
        throw Object.assign(new Error('cannot count open rows: the database is not open yet; retry later'), {
          code: 'POOL_NOT_OPEN',
        });
      this.known.set(source, { rows: await source.summary(this.pool), at });
    } catch (error) {
      this.failure = error;
    }
  }
}
