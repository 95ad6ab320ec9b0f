/**
 * Step 3 of 6 - receive: the payment app takes the money. The payment, its result message and the library's inbox row are
 * one local transaction, so a redelivery has no effect.
 */
import {
  captureMoney,
  declinePayment,
  paymentCaptured,
  paymentDeclined,
  publishPaymentResult,
  reasonOf,
  type StockTaken,
  stockTaken,
} from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { BeforeAck, LocalMessages, Notifications, OnMessage, OnRejected, type Rejected } from 'nest-dtx';
import { DataSource, EntityManager } from 'typeorm';

@Controller()
export class TakeMoneyByLocalMessage {
  constructor(
    private readonly messages: LocalMessages,
    private readonly notifications: Notifications,
    private readonly db: DataSource,
  ) {}

  /** Captures the money and publishes the completed purchase to the order app. */
  @OnMessage(stockTaken, { messagesPerTransaction: 16 })
  async take(tx: EntityManager, purchase: StockTaken): Promise<void> {
    await captureMoney(tx, purchase);
    await this.messages.append(tx, paymentCaptured, purchase);
  }

  /** Declines the payment. The order app then cancels the order, and inventory puts the stock back. */
  @OnRejected(stockTaken)
  async decline(tx: EntityManager, purchase: StockTaken, rejection: Rejected): Promise<void> {
    const reason = reasonOf(rejection);
    // The expiry of the order has declined it before.
    if (!(await declinePayment(tx, purchase, reason))) return;
    await this.messages.append(tx, paymentDeclined, { ...purchase, reason });
  }

  /** Notifies the merchant of the committed result. A redelivery notifies again, under the same id. */
  @BeforeAck(stockTaken)
  async publishResult(purchase: StockTaken): Promise<void> {
    await publishPaymentResult(this.notifications, this.db.manager, purchase);
  }
}
