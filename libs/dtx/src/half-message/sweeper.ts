// Step 6 of 6 - sweeper: the last net, over verdicts COMMITTED that were never marked as sent, should the broker lose a copy.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Alerts } from '../core/alert/alerts.js';
import { Broker } from '../core/broker/broker.service.js';
import { Database } from '../core/database/database.service.js';
import { DurableLoop, type Tried } from '../core/durable/loop.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { CheckBack } from './check-back.js';
import { Copies, copyBody } from './copies.js';
import { SCHEME } from './failpoints.js';
import { HalfMessages } from './half-messages.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { HALF, HALF_PARKED, type HalfRow, type ParkedRow } from './schema.js';

/** Both durable tables of half messages: overdue verdicts, and parked copies that a person has put back to work. */
@Injectable()
export class Sweeper implements OnModuleInit, OnModuleDestroy {
  private readonly verdicts: DurableLoop<HalfRow>;
  private readonly parked: DurableLoop<ParkedRow>;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly copies: Copies,
    private readonly halfMessages: HalfMessages,
    private readonly checkBack: CheckBack,
    alerts: Alerts,
    @Inject(CORE_OPTIONS) core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) options: HalfMessageOptions,
  ) {
    const common = {
      scheme: SCHEME,
      leaseMs: core.leaseMs,
      scanIntervalMs: core.scanIntervalMs,
      concurrencyMax: core.claimBatchMax,
      attemptsMax: options.attemptsMax,
      backoff: options.sweepBackoff,
      canRun: () => broker.publisher.isUp,
    };
    this.verdicts = new DurableLoop<HalfRow>(
      {
        ...common,
        table: HALF,
        run: (row) => this.deliver(row),
        describe: (row) => ({ gid: row.gid, step: `sending ${row.contract}` }),
      },
      database,
      alerts,
    );
    this.parked = new DurableLoop<ParkedRow>(
      {
        ...common,
        table: HALF_PARKED,
        run: (row) => this.recheck(row),
        describe: (row) => ({ gid: row.gid, step: 'checking a half message' }),
      },
      database,
      alerts,
    );
  }

  onModuleInit(): void {
    this.database.onReady(() => {
      this.verdicts.start();
      this.parked.start();
    });
    this.broker.publisher.on('up', () => this.wake());
  }

  async onModuleDestroy(): Promise<void> {
    await Promise.all([this.verdicts.stop(), this.parked.stop()]);
  }

  wake(): void {
    this.verdicts.wake();
    this.parked.wake();
  }

  private async deliver(row: HalfRow): Promise<Tried> {
    await this.copies.deliver(row);
    await this.halfMessages.marked(row.id);
    return { kind: 'settled' };
  }

  /** From the first level again: the check decides, as for any copy. */
  private async recheck(row: ParkedRow): Promise<Tried> {
    const message = copyBody.shape.message.parse(JSON.parse(row.message));
    // Should we die before the DELETE, the lease ends and it is checked once more, which is harmless.
    await this.checkBack.check({ checks: 0, message });
    await this.database.own.query('DELETE FROM dtx_half_parked WHERE id = ? AND claim_token = ?', [
      row.id,
      row.claim_token,
    ]);
    return { kind: 'settled' };
  }
}
