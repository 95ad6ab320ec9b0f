/**
 * Step 3 of 6 - receive: the payment app's turn in the local message scheme. The money and the message that tells of
 * it are one local transaction, and the library's inbox row in the same transaction makes it happen once.
 */
import {
  captureMoney,
  declinePayment,
  paymentCaptured,
  paymentDeclined,
  reasonOf,
  type StockTaken,
  stockTaken,
  tellPaymentResult,
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

  /** The stock is taken: take the money, and tell the order app that the purchase is complete. */
  @OnMessage(stockTaken)
  async take(tx: EntityManager, purchase: StockTaken): Promise<void> {
    await captureMoney(tx, purchase);
    await this.messages.append(tx, paymentCaptured, purchase);
  }

  /** The money was not to be had: tell the order app, which cancels, and inventory, which puts the stock back. */
  @OnRejected(stockTaken)
  async decline(tx: EntityManager, purchase: StockTaken, no: Rejected): Promise<void> {
    const reason = reasonOf(no);
    await declinePayment(tx, purchase, reason);
    await this.messages.append(tx, paymentDeclined, { ...purchase, reason });
  }

  /** The result is committed, whichever it is: the merchant is to hear of it, also when this delivery is a repetition. */
  @BeforeAck(stockTaken)
  async tell(purchase: StockTaken): Promise<void> {
    await tellPaymentResult(this.notifications, this.db.manager, purchase);
  }
}
