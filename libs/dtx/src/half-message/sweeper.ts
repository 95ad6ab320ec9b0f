// Step 6 of 6 - sweeper: the last net, over COMMITTED verdicts that were never marked as sent, should the broker lose a copy.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Alerts } from '../core/alert/alerts.js';
import { Broker } from '../core/broker/broker.service.js';
import { Database } from '../core/database/database.service.js';
import { DurableLoop, type Tried } from '../core/durable/loop.js';
import { failpoint } from '../core/failpoint.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { Copies } from './copies.js';
import { failpoints, SCHEME } from './failpoints.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { HALF, type HalfRow } from './schema.js';
import { Verdicts } from './verdicts.js';

/**
 * Needed because the broker holds the only other trace of a committed message that was not sent: a waiting queue that
 * an operator deletes, or a node that loses its disk, takes the copies along. Comes after the first check, not before.
 */
@Injectable()
export class Sweeper implements OnModuleInit, OnModuleDestroy {
  private readonly loop: DurableLoop<HalfRow>;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly copies: Copies,
    private readonly verdicts: Verdicts,
    alerts: Alerts,
    @Inject(CORE_OPTIONS) core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) options: HalfMessageOptions,
  ) {
    this.loop = new DurableLoop<HalfRow>(
      {
        scheme: SCHEME,
        table: HALF,
        leaseMs: core.leaseMs,
        scanIntervalMs: core.scanIntervalMs,
        concurrencyMax: core.claimBatchMax,
        attemptsMax: options.attemptsMax,
        backoff: options.sweepBackoff,
        canRun: () => broker.publisher.isUp,
        run: (row) => this.sweep(row),
        describe: (row) => ({ gid: row.gid, step: `sending ${row.contract} to ${row.consumers}` }),
      },
      database,
      alerts,
    );
  }

  onModuleInit(): void {
    this.database.onReady(() => this.loop.start());
    this.broker.publisher.on('up', () => this.loop.wake());
  }

  async onModuleDestroy(): Promise<void> {
    await this.loop.stop();
  }

  wake(): void {
    this.loop.wake();
  }

  /** Both ways of failing end in the loop: what is away is no attempt, anything else is one. */
  private async sweep(row: HalfRow): Promise<Tried> {
    await failpoint(failpoints.swept, () => this.copies.deliver(row, Number(row.made_at_ms)));
    await this.verdicts.markSent(row.id);
    return { kind: 'settled' };
  }
}
