/**
 * Step 3 of 6 - receive: the inventory app's turn in the local message scheme. The stock and the message that tells
 * of it are one local transaction, and the library's inbox row in the same transaction makes it happen once.
 */
import {
  type OrderPlaced,
  orderPlaced,
  type PaymentDeclined,
  paymentDeclined,
  putBack,
  reasonOf,
  refuseStock,
  stockRejected,
  stockTaken,
  takeStock,
} from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { LocalMessages, OnMessage, OnRejected, type Rejected } from 'nest-dtx';
import { EntityManager } from 'typeorm';

@Controller()
export class TakeStockByLocalMessage {
  constructor(private readonly messages: LocalMessages) {}

  /** An order exists: take its stock, and tell the payment app to take the money. */
  @OnMessage(orderPlaced)
  async take(tx: EntityManager, purchase: OrderPlaced): Promise<void> {
    await takeStock(tx, purchase);
    await this.messages.append(tx, stockTaken, purchase);
  }

  /** There is not enough: tell the order app, which cancels. Nothing else has happened yet. */
  @OnRejected(orderPlaced)
  async refuse(tx: EntityManager, purchase: OrderPlaced, no: Rejected): Promise<void> {
    await refuseStock(tx, purchase);
    await this.messages.append(tx, stockRejected, { ...purchase, reason: reasonOf(no) });
  }

  /** The payment app said no: undo what was done here. The order app hears the same message and cancels. */
  @OnMessage(paymentDeclined)
  async undo(tx: EntityManager, purchase: PaymentDeclined): Promise<void> {
    await putBack(tx, purchase);
  }
}
