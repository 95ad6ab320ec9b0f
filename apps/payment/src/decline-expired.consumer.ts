/**
 * The payment app decides about an order that has expired. The payment row is unique, so the order is either paid or
 * declined. Decision, message and inbox row are one local transaction.
 */
import {
  declinePayment,
  type ExpiryRequested,
  expiryRequested,
  paymentDeclined,
  publishPaymentResult,
} from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { BeforeAck, LocalMessages, Notifications, OnMessage } from 'nest-dtx';
import { DataSource, EntityManager } from 'typeorm';

@Controller()
export class DeclineExpiredByLocalMessage {
  constructor(
    private readonly messages: LocalMessages,
    private readonly notifications: Notifications,
    private readonly db: DataSource,
  ) {}

  /** Declines the payment, unless the order has one. The result of that payment is on its way to the order app. */
  @OnMessage(expiryRequested)
  async decline(tx: EntityManager, purchase: ExpiryRequested): Promise<void> {
    if (!(await declinePayment(tx, purchase, 'TIMEOUT'))) return;
    await this.messages.append(tx, paymentDeclined, { ...purchase, reason: 'TIMEOUT' as const });
  }

  /** Notifies the merchant of the committed result. A redelivery notifies again, under the same id. */
  @BeforeAck(expiryRequested)
  async publishResult(purchase: ExpiryRequested): Promise<void> {
    await publishPaymentResult(this.notifications, this.db.manager, purchase);
  }
}
