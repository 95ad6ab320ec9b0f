import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { SidePool } from '../core/database/side-pool.js';
import { Operations, type OperationsSource, type SummaryRow } from '../core/durable/operations.js';
import { OPS_OPTIONS, type OpsOptions } from './options.js';

/** How long a caller waits for a count that is under way. Then it gets the figures before it. */
const CALLER_WAIT_MS = 700;
/** A count rests for so many times as long as it took: at the most a sixth of one connection is spent on counting. */
const REST_TIMES = 5;

/** What a source said, and when that was by the steady clock. */
interface Counted {
  readonly rows: readonly SummaryRow[];
  readonly at: number;
}

/**
 * How many rows are open. One count at a time for all callers, on one connection of its own, and the server ends it when
 * it takes too long: then the last known figures are given, with their age.
 */
@Injectable()
export class Counts implements OnModuleInit, OnApplicationShutdown {
  private readonly known = new Map<OperationsSource, Counted>();
  private readonly pool: SidePool;
  private running: Promise<void> | undefined;
  private dueAt = Number.NEGATIVE_INFINITY;
  private failure: unknown;

  constructor(
    private readonly database: Database,
    private readonly operations: Operations,
    @Inject(OPS_OPTIONS) private readonly options: OpsOptions,
  ) {
    this.pool = new SidePool(database.source, { size: 1, limitMs: options.countLimitMs });
  }

  /** The first caller finds figures, also where the count takes long. */
  onModuleInit(): void {
    this.database.onReady(() => this.begin());
  }

  async onApplicationShutdown(): Promise<void> {
    await this.pool.end();
  }

  /** What is known, after a short wait for the count that is due. A source that was never counted is missing. */
  async read(): Promise<Array<SummaryRow & { ageMs: number }>> {
    const end = performance.now() + CALLER_WAIT_MS;
    for (let now = performance.now(); now < end && (this.running || now >= this.dueAt); now = performance.now()) {
      this.begin();
      await Promise.race([this.running, sleep(end - now, undefined, { ref: false })]);
    }
    const now = performance.now();
    return [...this.known.values()].flatMap(({ rows, at }) =>
      rows.map((row) => ({ ...row, ageMs: Math.round(now - at) })),
    );
  }

  /** The same for a caller that has no use for an empty answer. @throws what the count has failed with, if nothing is known */
  async readOrFail(): Promise<Array<SummaryRow & { ageMs: number }>> {
    const rows = await this.read();
    if (this.known.size === 0 && this.failure) throw this.failure;
    return rows;
  }

  /** A person has changed something: the next caller gets a new count. */
  forget(): void {
    this.dueAt = Number.NEGATIVE_INFINITY;
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
    // Otherwise a person has changed something meanwhile, which may not be among the figures.
    if (this.dueAt === Number.POSITIVE_INFINITY)
      this.dueAt = now + Math.max(this.options.countsFreshMs, REST_TIMES * (now - since));
  }

  /** A table that cannot be counted takes away the figures of no other. */
  private async countOne(source: OperationsSource): Promise<void> {
    const at = performance.now();
    try {
      if (!this.database.ready)
        throw Object.assign(new Error('the database is not open yet'), { code: 'POOL_NOT_OPEN' });
      this.known.set(source, { rows: await source.summary(this.pool), at });
    } catch (error) {
      this.failure = error;
    }
  }
}
