import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { Batcher } from '../async/batcher.js';
import { Broker } from '../broker/broker.service.js';
import { Unroutable } from '../broker/confirm-publisher.js';
import { QueueRefused } from '../broker/refusal.js';
import type { Receipt } from '../durable/receipt-consumer.js';
import { isUnavailable } from '../errors/sql-errors.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import type { CoreOptions } from '../options.js';

export const RECEIPT_TYPE = 'dtx.receipt.v1';

/** Receipts that are kept in memory while the broker blocks publishers. Further ones are dropped. */
const LATER_MAX = 20_000;
const LATER_BATCH_MAX = 1_000;
const LOOK_MS = 1_000;

/**
 * Sends receipts in batches, with publisher confirms. While the broker blocks publishers, receipts stay in memory and
 * the delivery is acked, because consuming ends a memory alarm. A lost receipt is harmless, also when the process dies
 * with receipts in memory. The row at the sender stays open, the sender resends, and the duplicate is receipted.
 */
@Injectable()
export class ReceiptSender implements OnModuleDestroy {
  private readonly batchers = new Map<string, Batcher<Receipt>>();
  private readonly later = new Map<string, Receipt[]>();
  private kept = 0;
  private timer: NodeJS.Timeout | undefined;
  private isStopped = false;

  constructor(
    private readonly broker: Broker,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {
    broker.publisher.on('up', () => void this.sendKept());
  }

  onModuleDestroy(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
  }

  /** Resolves when the broker has confirmed the receipt, or when the receipt is kept for later. */
  send(queue: string, receipt: Receipt): Promise<void> {
    let batcher = this.batchers.get(queue);
    if (!batcher) {
      const { receiptDelayMs, receiptBatchMax } = this.options.inbox;
      batcher = new Batcher({ delayMs: receiptDelayMs, batchMax: receiptBatchMax }, (receipts) =>
        this.sendOrKeep(queue, receipts),
      );
      this.batchers.set(queue, batcher);
    }
    return batcher.add(receipt);
  }

  private async sendOrKeep(queue: string, receipts: Receipt[]): Promise<void> {
    try {
      if (!(await this.publish(queue, receipts))) this.keep(queue, receipts);
    } catch (error) {
      // The receipt queue is not usable, and the publisher has logged the reason. The row of the sender gets no receipt
      // and is parked there.
      if (error instanceof QueueRefused || error instanceof Unroutable) return;
      if (!isUnavailable(error)) throw error;
      this.keep(queue, receipts);
    }
  }

  /** Returns false if the broker started to block. Its confirm may take long. */
  private async publish(queue: string, receipts: Receipt[]): Promise<boolean> {
    const { publisher } = this.broker;
    const envelope = { messageId: receipts[0]!.messageId, type: RECEIPT_TYPE, gid: 'receipts', scheme: 'receipt' };
    const body = Buffer.from(JSON.stringify({ receipts }));
    let down: (() => void) | undefined;
    const blocked = new Promise<boolean>((resolve) => {
      down = () => resolve(false);
      publisher.once('down', down);
    });
    try {
      return await Promise.race([
        publisher.publish(queue, body, envelope, { kind: 'named' }).then(() => true),
        blocked,
      ]);
    } finally {
      if (down) publisher.off('down', down);
    }
  }

  private keep(queue: string, receipts: Receipt[]): void {
    if (this.kept + receipts.length > LATER_MAX) return;
    this.kept += receipts.length;
    this.later.set(queue, [...(this.later.get(queue) ?? []), ...receipts]);
    // The timer retries failures without a later `up` event.
    if (!this.isStopped) this.timer ??= setTimeout(() => void this.sendKept(), LOOK_MS);
  }

  private async sendKept(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.isStopped || this.kept === 0) return;
    if (!this.broker.publisher.isUp) return; // the publisher emits `up` later
    const all = [...this.later];
    this.later.clear();
    this.kept = 0;
    for (const [queue, receipts] of all) {
      for (let start = 0; start < receipts.length; start += LATER_BATCH_MAX)
        await this.sendOrKeep(queue, receipts.slice(start, start + LATER_BATCH_MAX)).catch(() => {});
    }
  }
}
