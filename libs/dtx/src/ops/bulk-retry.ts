import { ConflictException, Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { retryWhileUnavailable } from '../core/async/retry-while-unavailable.js';
import { type BulkQuery, Operations, type OperatorNote } from '../core/durable/operations-registry.js';
import { textOf } from '../core/errors/errors.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { Counts } from './open-row-counts.js';

/** The progress of a retry of all. Times are ISO 8601 in UTC, by the clock of the process. */
export interface BulkRetryView extends BulkQuery {
  /** Rows that matched at the start. */
  readonly matching: number;
  retried: number;
  readonly startedAt: string;
  /** Null while it runs. */
  endedAt: string | null;
  /** The error that ended it early. */
  error: string | null;
}

/**
 * Retries all rows of a scheme in one state, in the background and in bounded batches. One runs at a time in a process.
 * If the process dies, the committed batches are retried. An operator starts the rest again.
 */
@Injectable()
export class BulkRetry implements OnModuleDestroy {
  private readonly logger = libraryLogger('bulk retry');
  private last: BulkRetryView | null = null;
  private running: Promise<void> | undefined;
  private isStarting = false;
  private readonly stopping = new AbortController();

  constructor(
    private readonly operations: Operations,
    private readonly counts: Counts,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
  ) {}

  async onModuleDestroy(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  /** The running one, otherwise the last one of this process. Null if none was started. */
  get progress(): BulkRetryView | null {
    return this.last && { ...this.last };
  }

  /**
   * Starts a retry of all. Resolves to the number of matching rows, before the first of them is retried.
   * @throws ConflictException while another one runs
   */
  async start(query: BulkQuery, operator: OperatorNote): Promise<number> {
    if (this.isStarting || this.running)
      throw new ConflictException(`cannot retry all: ${textOfProgress(this.last)}; wait until it ends`);
    this.isStarting = true;
    try {
      const counts = await Promise.all(this.operations.sources.map((source) => source.count(query)));
      const matching = counts.reduce((sum, count) => sum + count, 0);
      this.last = { ...query, matching, retried: 0, startedAt: now(), endedAt: null, error: null };
      this.running = this.run(this.last, operator).finally(() => {
        this.running = undefined;
      });
      return matching;
    } finally {
      this.isStarting = false;
    }
  }

  /** One pass. A row that gives up again meanwhile is not retried twice, since its id is passed. */
  private async run(view: BulkRetryView, operator: OperatorNote): Promise<void> {
    const { scheme, state } = view;
    const { signal: lost } = this.stopping;
    // A batch whose COMMIT has lost its answer is searched again. Its rows match no more, and `retried` misses them.
    const patience = { lost, reconnect: this.core.reconnect };
    try {
      for (const source of this.operations.sources) {
        for (let before: string | undefined; !lost.aborted; ) {
          const next = { scheme, state, before };
          const { retried, through } = await retryWhileUnavailable(patience, () => source.retryNext(next, operator));
          view.retried += retried;
          if (through === null) break;
          before = through;
        }
      }
    } catch (error) {
      view.error = textOf(error);
      if (!lost.aborted)
        this.logger.error(`retry of all ended early: ${textOfProgress(view)}: ${view.error}; start it again`);
    }
    if (lost.aborted) view.error = 'the app was stopped';
    view.endedAt = now();
    this.counts.forget();
  }
}

const now = () => new Date().toISOString();

function textOfProgress(view: BulkRetryView | null): string {
  return view && view.endedAt === null
    ? `${view.retried} of ${view.matching} ${view.state} rows of ${view.scheme} are retried`
    : 'another retry begins';
}
