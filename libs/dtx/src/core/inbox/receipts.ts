import { Inject, Injectable } from '@nestjs/common';
import { Broker } from '../broker/broker.service.js';
import { Batcher } from '../durable/batcher.js';
import type { CoreOptions } from '../options.js';
import { CORE_OPTIONS } from '../tokens.js';

/** What a receiver tells the sender: settled here, one way or the other, so stop resending. */
export interface Receipt {
  readonly messageId: string;
  readonly consumer: string;
  readonly outcome: 'HANDLED' | 'PARKED';
}

export const RECEIPT_TYPE = 'dtx.receipt.v1';

/** Sends receipts, several in one message, with confirm. A receipt that is lost heals: the sender resends, the duplicate is receipted. */
@Injectable()
export class ReceiptSender {
  private readonly batchers = new Map<string, Batcher<Receipt>>();

  constructor(
    private readonly broker: Broker,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  /** Resolves once the broker has it. @throws BrokerUnavailable */
  send(queue: string, receipt: Receipt): Promise<void> {
    let batcher = this.batchers.get(queue);
    if (!batcher) {
      const { receiptDelayMs, receiptBatchMax } = this.options.inbox;
      batcher = new Batcher({ delayMs: receiptDelayMs, batchMax: receiptBatchMax }, (receipts) =>
        this.publish(queue, receipts),
      );
      this.batchers.set(queue, batcher);
    }
    return batcher.add(receipt);
  }

  private publish(queue: string, receipts: Receipt[]): Promise<void> {
    const envelope = { messageId: receipts[0]!.messageId, type: RECEIPT_TYPE, gid: 'receipts', scheme: 'receipt' };
    return this.broker.publisher.publish(queue, Buffer.from(JSON.stringify({ receipts })), envelope);
  }
}
