import { SettlementPace } from '@nest-dtx/host';
import {
  cancelOrder,
  confirmOrder,
  type PaymentCaptured,
  type PaymentDeclined,
  paymentCaptured,
  paymentDeclined,
  type StockRejected,
  stockRejected,
} from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { DtxDatabase, OnMessage } from 'nest-dtx';
import type { EntityManager } from 'typeorm';
import { OrderExpiry } from './order-expiry.js';
import { SettledOrders } from './settled-order-waits.js';

/**
 * Step 3 of 6 - settle: settles the order by its result. Each message carries the whole purchase, so the messages may arrive
 * in any order, even before the order is stored here. Order and inbox row commit together. If the process dies before the
 * commit, the message is redelivered. If it dies after, the inbox row makes the redelivery a duplicate.
 */
@Controller()
export class SettleOrderByLocalMessage {
  constructor(
    private readonly database: DtxDatabase,
    private readonly settled: SettledOrders,
    private readonly expiry: OrderExpiry,
    private readonly pace: SettlementPace,
  ) {}

  @OnMessage(paymentCaptured, { messagesPerTransaction: 16 })
  async confirm(tx: EntityManager, purchase: PaymentCaptured): Promise<void> {
    await this.expiry.settleAndWithdraw(tx, purchase, () => confirmOrder(tx, purchase));
    this.wakeAfterCommit(tx, purchase);
  }

  @OnMessage(stockRejected)
  async cancelRejected(tx: EntityManager, purchase: StockRejected): Promise<void> {
    await this.expiry.settleAndWithdraw(tx, purchase, () => cancelOrder(tx, purchase, purchase.reason));
    this.wakeAfterCommit(tx, purchase);
  }

  @OnMessage(paymentDeclined)
  async cancelDeclined(tx: EntityManager, purchase: PaymentDeclined): Promise<void> {
    await this.expiry.settleAndWithdraw(tx, purchase, () => cancelOrder(tx, purchase, purchase.reason));
    this.wakeAfterCommit(tx, purchase);
  }

  /** Wakes callers that wait in this process. If the process dies before, callers of other instances poll the database. */
  private wakeAfterCommit(tx: EntityManager, { orderId }: { orderId: string }): void {
    this.database.hooks.afterCommit(tx, async () => {
      this.settled.wake(orderId);
      this.pace.settled(this.database.ageMs(orderId));
    });
  }
}
