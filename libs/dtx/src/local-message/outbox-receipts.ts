// Step 5 of 6 - receipts: the sender marks a message DONE when all receipts are in, many receipts in one statement.
// If the process dies before the ack, the broker redelivers the receipts, which change nothing.
import { Inject, Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { receiptQueueOf } from '../core/broker/message-contract.js';
import { Database } from '../core/database/database.service.js';
import { BackgroundWork } from '../core/durable/background-work.js';
import { ReceiptConsumer } from '../core/durable/receipt-consumer.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { failpoints, SCHEME } from './failpoints.js';
import { LOCAL_MESSAGE_OPTIONS, type LocalMessageOptions } from './options.js';
import { OUTBOX } from './outbox-table.js';
import { Relay } from './relay.js';

/** Consumes the receipts of the app's local messages. */
@Injectable()
export class Receipts implements OnModuleInit, OnModuleDestroy {
  private readonly consumer: ReceiptConsumer;

  constructor(
    private readonly database: Database,
    broker: Broker,
    relay: Relay,
    background: BackgroundWork,
    @Inject(CORE_OPTIONS) core: CoreOptions,
    @Inject(LOCAL_MESSAGE_OPTIONS) options: LocalMessageOptions,
  ) {
    const messages = {
      scheme: SCHEME,
      table: OUTBOX,
      awaited: 'm.awaiting',
      queue: receiptQueueOf(core.app),
      batchMax: options.markBatchMax,
      failpoint: failpoints.done,
      arrived: (receipts: ReadonlyMap<string, string>) => relay.receipted(receipts),
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
