// Step 6 of 6 - receipts: the producer marks a half message DONE when every consumer has sent its receipt. If the process
// dies before the ack, the broker redelivers the receipts, which change nothing.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { Database } from '../core/database/database.service.js';
import { BackgroundWork } from '../core/durable/background-work.js';
import { ReceiptConsumer } from '../core/durable/receipt-consumer.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { failpoints, SCHEME } from './failpoints.js';
import { HALF } from './half-message-tables.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions } from './options.js';
import { halfReceiptQueueOf } from './receipt-queue-name.js';
import { Sweeper } from './resend-sweeper.js';
import { Verdicts } from './verdicts.js';

/** Consumes the receipts of the app's half messages. The sweeper resends messages with missing receipts. */
@Injectable()
export class HalfReceipts implements OnModuleInit, OnModuleDestroy {
  private readonly consumer: ReceiptConsumer;

  constructor(
    private readonly database: Database,
    broker: Broker,
    verdicts: Verdicts,
    sweeper: Sweeper,
    background: BackgroundWork,
    @Inject(CORE_OPTIONS) core: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) options: HalfMessageOptions,
  ) {
    const messages = {
      scheme: SCHEME,
      table: HALF,
      // NULL in a row that was committed by a version without receipts and sent by this version.
      awaited: `COALESCE(m.awaiting, CONCAT(',', m.consumers, ','))`,
      queue: halfReceiptQueueOf(core.app),
      batchMax: options.markBatchMax,
      failpoint: failpoints.done,
      arrived: (receipts: ReadonlyMap<string, string>) => {
        verdicts.skipMarks(receipts);
        sweeper.receipted(receipts);
      },
    };
    this.consumer = new ReceiptConsumer(messages, database, broker, core, background);
  }

  onModuleInit(): void {
    this.database.onReady(() => this.consumer.start());
  }

  async onModuleDestroy(): Promise<void> {
    await this.consumer.stop();
  }
}
