/**
 * Step 5 of 6 - consume: the payment app's turn in a flash sale. The result is told by the local message table: payment
 * holds a row of its own by now, so no prepared copy is needed, and the message is as sure as the payment itself.
 */
import {
  captureMoney,
  declinePayment,
  type FlashSold,
  flashSold,
  paymentCaptured,
  paymentDeclined,
  reasonOf,
  tellPaymentResult,
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

  /** The stock is sold: take the money, and tell the order app that the purchase is complete. */
  @OnMessage(flashSold)
  async take(tx: EntityManager, sale: FlashSold): Promise<void> {
    await captureMoney(tx, sale);
    await this.messages.append(tx, paymentCaptured, sale);
  }

  /**
   * B cannot, so A is told to undo (seed: RocketMQ 5): inventory puts the stock back, and the order app cancels, whether
   * or not it has heard of the sale: the message carries the whole purchase.
   */
  @OnRejected(flashSold)
  async decline(tx: EntityManager, sale: FlashSold, no: Rejected): Promise<void> {
    const reason = reasonOf(no);
    await declinePayment(tx, sale, reason);
    await this.messages.append(tx, paymentDeclined, { ...sale, reason });
  }

  /** The result is committed, whichever it is: the merchant is to hear of it, also when this delivery is a repetition. */
  @BeforeAck(flashSold)
  async tell(sale: FlashSold): Promise<void> {
    await tellPaymentResult(this.notifications, this.db.manager, sale);
  }
}
