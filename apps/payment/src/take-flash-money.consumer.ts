/**
 * Step 5 of 6 - consume: the payment app takes the money of a flash sale. It publishes the result by the local message
 * table in the same local transaction, so it needs no half message.
 */
import {
  captureMoney,
  declinePayment,
  type FlashSold,
  flashSold,
  paymentCaptured,
  paymentDeclined,
  publishPaymentResult,
  reasonOf,
} from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { BeforeAck, LocalMessages, Notifications, OnMessage, OnRejected, type Rejected } from 'nest-dtx';
import { DataSource, EntityManager } from 'typeorm';

@Controller()
export class TakeFlashMoneyByHalfMessage {
  constructor(
    private readonly messages: LocalMessages,
    private readonly notifications: Notifications,
    private readonly db: DataSource,
  ) {}

  /** Captures the money and publishes the completed purchase to the order app. */
  @OnMessage(flashSold, { messagesPerTransaction: 16 })
  async take(tx: EntityManager, sale: FlashSold): Promise<void> {
    await captureMoney(tx, sale);
    await this.messages.append(tx, paymentCaptured, sale);
  }

  /**
   * Declines the payment. Inventory then puts the stock back, and the order app cancels the order. The message carries the
   * whole purchase, since the order app may not have seen the sale yet.
   */
  @OnRejected(flashSold)
  async decline(tx: EntityManager, sale: FlashSold, rejection: Rejected): Promise<void> {
    const reason = reasonOf(rejection);
    // The expiry of the order has declined it before.
    if (!(await declinePayment(tx, sale, reason))) return;
    await this.messages.append(tx, paymentDeclined, { ...sale, reason });
  }

  /** Notifies the merchant of the committed result. A redelivery notifies again, under the same id. */
  @BeforeAck(flashSold)
  async publishResult(sale: FlashSold): Promise<void> {
    await publishPaymentResult(this.notifications, this.db.manager, sale);
  }
}
