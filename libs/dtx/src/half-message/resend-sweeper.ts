// Step 6 of 6 - sweeper: resends committed messages without a SENT mark or without their receipts. If the process dies,
// another instance's sweeper claims the row after the lease has expired.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { Nacked } from '../core/broker/confirm-publisher.js';
import { Database } from '../core/database/database.service.js';
import { Alerts } from '../core/durable/alerts.js';
import type { DurableLoop, Tried } from '../core/durable/durable-loop.js';
import { DurableLoops } from '../core/durable/loop-factory.js';
import { Unreceipted } from '../core/durable/resend-or-give-up.js';
import { failpoint } from '../core/failpoint.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { failpoints, SCHEME } from './failpoints.js';
import { PreparedMessages } from './half-message-publisher.js';
import { HALF, type HalfRow } from './half-message-tables.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { Verdicts } from './verdicts.js';

/** Largest share of the places for messages of one contract. A stopped consumer delays no other contract. */
const CONTRACT_SHARE = 1 / 4;

/**
 * Covers losses in the broker. A deleted waiting queue, or a node that loses its disk, takes prepared messages with it. A
 * queue that expires, or that drops a message at its delivery limit, loses the message itself.
 */
@Injectable()
export class Sweeper implements OnModuleInit, OnModuleDestroy {
  private readonly loop: DurableLoop<HalfRow>;
  private readonly unreceipted: Unreceipted;

  constructor(
    private readonly database: Database,
    private readonly broker: Broker,
    private readonly preparedMessages: PreparedMessages,
    private readonly verdicts: Verdicts,
    alerts: Alerts,
    loops: DurableLoops,
    @Inject(CORE_OPTIONS) core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) options: HalfMessageOptions,
  ) {
    const patience = { ...options, resend: options.sweepBackoff };
    this.unreceipted = new Unreceipted(HALF, database, broker.publisher, alerts, patience);
    this.loop = loops.create<HalfRow>({
      scheme: SCHEME,
      table: HALF,
      leaseMs: core.leaseMs,
      scanIntervalMs: core.scanIntervalMs,
      concurrencyMax: core.claimBatchMax,
      perKeyMax: Math.ceil(core.claimBatchMax * CONTRACT_SHARE),
      attemptsMax: options.attemptsMax,
      backoff: options.sweepBackoff,
      canRun: () => broker.publisher.isUp,
      run: (row) => this.sweep(row),
      describe: (row) => ({ gid: row.gid, step: stepOf(row) }),
    });
  }

  onModuleInit(): void {
    // guard: half-message.sweeper
    this.database.onReady(() => this.loop.start());
    this.broker.publisher.on('up', () => this.loop.wake());
  }

  async onModuleDestroy(): Promise<void> {
    await this.loop.stop();
  }

  wake(): void {
    this.loop.wake();
  }

  /** Takes receipts, as the consumer of each message id. */
  receipted(receipts: ReadonlyMap<string, string>): void {
    this.unreceipted.receipted(receipts);
  }

  /** Errors go to the loop. It counts an attempt unless a dependency is unavailable. */
  private async sweep(row: HalfRow): Promise<Tried> {
    const { id, gid, version, sent_at: sentAt } = row;
    const message = { scheme: SCHEME, id, gid, step: stepOf(row), sentAt, version, awaiting: awaitingOf(row) };
    const tried = await this.unreceipted.beforeSend(row, { ...message, kind: 'replicated' });
    if (tried) return tried;
    // Consumers that have sent their receipt are skipped.
    const still = { ...row, consumers: message.awaiting.join(',') };
    try {
      await failpoint(failpoints.swept, () => this.preparedMessages.deliver(still, Number(row.made_at_ms)));
    } catch (error) {
      if (error instanceof Nacked) return this.unreceipted.afterNack(error, Number(row.made_at_ms));
      throw error;
    }
    await this.verdicts.markSent(row);
    return { kind: 'settled' };
  }
}

function stepOf(row: HalfRow): string {
  return `sending ${row.contract} to ${awaitingOf(row).join(',')}`;
}

function awaitingOf({ awaiting, consumers }: HalfRow): string[] {
  return (awaiting ?? consumers).split(',').filter(Boolean);
}
