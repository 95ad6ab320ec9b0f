import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import type { SqlValue } from '../database/sql-literals.js';
import { textOf } from '../errors/errors.js';
import { isUnavailable } from '../errors/sql-errors.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import { libraryLogger } from '../library-logger.js';
import type { CoreOptions } from '../options.js';
import { BackgroundWork } from './background-work.js';
import { inFuture } from './claim-and-reschedule.js';

/** A DELETE of finished rows past their retention. It gets the batch size and must use an index. */
export interface PurgeStatement {
  readonly name: string;
  statement(limit: number): { sql: string; values: SqlValue[] };
}

/** A purge with several statements. Returns the number of removed rows. */
export interface PurgeBatch {
  readonly name: string;
  batch(limit: number): Promise<number>;
}

export type PurgeTask = PurgeStatement | PurgeBatch;

/**
 * The SQL condition of a finished row past its retention, by the database clock and the columns of the row. The id is
 * not used, because imported rows may have old ids. `created_at` gives the order of the index `by_age`. The retention
 * counts from the end of the row, because a row may wait long for an operator.
 */
export function pastRetention(retentionMs: number, endedAt: string): string {
  const old = inFuture(-retentionMs);
  return `created_at < ${old} AND COALESCE(${endedAt}, created_at) < ${old}`;
}

/**
 * Removes finished rows past their retention, in bounded batches, so that tables stay small. If the process dies, the
 * next purge of any instance continues.
 */
@Injectable()
export class Purger implements OnModuleInit, OnModuleDestroy {
  private readonly logger = libraryLogger('purge');
  private readonly tasks: PurgeTask[] = [];
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(
    private readonly database: Database,
    private readonly background: BackgroundWork,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  add(task: PurgeTask): void {
    this.tasks.push(task);
  }

  onModuleInit(): void {
    this.background.register({ name: 'purge', phase: 'purge', runOnce: (until) => this.purgeOnce(until) });
    if (this.background.isContinuous) this.database.onReady(() => this.schedule());
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
  }

  private schedule(): void {
    if (this.stopped) return;
    this.timer = setTimeout(
      () => {
        this.running = this.purgeAll().finally(() => this.schedule());
      },
      this.options.purgeIntervalMs * (0.75 + Math.random() * 0.5),
    );
  }

  private async purgeAll(): Promise<void> {
    for (const task of this.tasks) {
      try {
        await this.purge(task, () => this.stopped);
      } catch (error) {
        if (!isUnavailable(error)) this.logger.error(`cannot purge ${task.name}, retrying: ${textOf(error)}`);
      }
    }
  }

  /** @throws the error of the first task that failed, after all others */
  private async purgeOnce(until: AbortSignal): Promise<number> {
    let rows = 0;
    let failed: { error: unknown } | undefined;
    for (const task of this.tasks) {
      try {
        rows += await this.purge(task, () => this.stopped || until.aborted);
      } catch (error) {
        failed ??= { error };
      }
    }
    if (failed) throw failed.error;
    return rows;
  }

  private async purge(task: PurgeTask, isOver: () => boolean): Promise<number> {
    let all = 0;
    for (let rows = this.options.purgeBatchMax; rows >= this.options.purgeBatchMax && !isOver(); all += rows)
      rows = await this.purgeBatch(task);
    return all;
  }

  private async purgeBatch(task: PurgeTask): Promise<number> {
    if ('batch' in task) return task.batch(this.options.purgeBatchMax);
    const { sql, values } = task.statement(this.options.purgeBatchMax);
    const { affectedRows } = await this.database.own.query(sql, values);
    return affectedRows;
  }
}
