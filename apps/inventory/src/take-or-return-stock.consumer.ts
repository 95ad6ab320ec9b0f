/**
 * Step 3 of 6 - receive: the inventory app takes the stock. The stock, its result message and the library's inbox row are
 * one local transaction, so a redelivery has no effect.
 */
import {
  type OrderPlaced,
  orderPlaced,
  type PaymentDeclined,
  paymentDeclined,
  putBack,
  putBackOrRefuse,
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

  /** Takes the stock and requests the payment. */
  @OnMessage(orderPlaced, { messagesPerTransaction: 16 })
  async take(tx: EntityManager, purchase: OrderPlaced): Promise<void> {
    await takeStock(tx, purchase);
    await this.messages.append(tx, stockTaken, purchase);
  }

  /** Records the refusal. The order app then cancels the order. */
  @OnRejected(orderPlaced)
  async refuse(tx: EntityManager, purchase: OrderPlaced, rejection: Rejected): Promise<void> {
    // The order has expired before.
    if (!(await refuseStock(tx, purchase))) return;
    await this.messages.append(tx, stockRejected, { ...purchase, reason: reasonOf(rejection) });
  }

  /**
   * Puts the stock back after a declined payment. The order app cancels the order by the same message. An order may expire
   * before its stock is taken.
   */
  @OnMessage(paymentDeclined)
  async undo(tx: EntityManager, purchase: PaymentDeclined): Promise<void> {
    await (purchase.reason === 'TIMEOUT' ? putBackOrRefuse(tx, purchase) : putBack(tx, purchase));
  }
}
