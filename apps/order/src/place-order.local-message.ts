/**
 * Step 1 of 6 - place: the order app's turns in the local message scheme. One local transaction writes the order, the
 * caller's key and the message; from its commit on the purchase will be settled, whatever dies. The consumers below
 * are step 3, when the other apps have done their part or said no.
 */
import {
  acceptedViewOf,
  amountOf,
  cancelOrder,
  confirmOrder,
  findOrder,
  insertOrder,
  orderPlaced,
  type PaymentCaptured,
  type PaymentDeclined,
  type Purchase,
  type PurchaseBody,
  paymentCaptured,
  paymentDeclined,
  type StockRejected,
  stockRejected,
} from '@nest-dtx/shop';
import { Controller, Injectable } from '@nestjs/common';
import { Database, IdempotencyKeys, inTransaction, LocalMessages, OnMessage } from 'nest-dtx';
import { DataSource, EntityManager } from 'typeorm';
import { SettledOrders } from './settled-orders.js';

const ROUTE = 'POST /orders';

@Injectable()
export class PlaceOrderByLocalMessage {
  constructor(
    private readonly db: DataSource,
    private readonly database: Database,
    private readonly keys: IdempotencyKeys,
    private readonly messages: LocalMessages,
  ) {}

  /**
   * Accepts a purchase. With a key that was used before it answers as it did then, and does nothing.
   * @throws IdempotencyKeyReused, IdempotencyKeyBusy
   */
  async place(body: PurchaseBody, key: string | undefined): Promise<Purchase> {
    const orderId = this.database.newId();
    return inTransaction(this.db, async (tx) => {
      if (key !== undefined) {
        const claim = await this.keys.claim(tx, { route: ROUTE, key, body, gid: orderId });
        if (!claim.first) return this.acceptedBefore(tx, claim.gid);
      }
      const order = { ...body, orderId, scheme: 'local-message' as const, amount: amountOf(body) };
      const createdAt = await insertOrder(tx, order);
      await this.messages.append(tx, orderPlaced, { ...order, createdAt: createdAt.toISOString() });
      return acceptedViewOf({ ...order, createdAt });
    });
  }

  /** The key and its order were written by the same commit: one without the other cannot be. */
  private async acceptedBefore(tx: EntityManager, orderId: string): Promise<Purchase> {
    const order = await findOrder(tx, orderId);
    if (order === null) throw new Error(`order ${orderId} is missing, though its Idempotency-Key is there`);
    return acceptedViewOf(order);
  }
}

/** Hears what became of the purchase. Each message carries all of it, so they may come in any order. */
@Controller()
export class SettleOrderByLocalMessage {
  constructor(
    private readonly database: Database,
    private readonly settled: SettledOrders,
  ) {}

  @OnMessage(paymentCaptured)
  async confirm(tx: EntityManager, purchase: PaymentCaptured): Promise<void> {
    await confirmOrder(tx, purchase);
    this.wakeAfterCommit(tx, purchase);
  }

  @OnMessage(stockRejected)
  async cancelRejected(tx: EntityManager, purchase: StockRejected): Promise<void> {
    await cancelOrder(tx, purchase, purchase.reason);
    this.wakeAfterCommit(tx, purchase);
  }

  @OnMessage(paymentDeclined)
  async cancelDeclined(tx: EntityManager, purchase: PaymentDeclined): Promise<void> {
    await cancelOrder(tx, purchase, purchase.reason);
    this.wakeAfterCommit(tx, purchase);
  }

  /** For callers that wait in this process. Only a convenience: should it be lost, they find out by asking. */
  private wakeAfterCommit(tx: EntityManager, { orderId }: { orderId: string }): void {
    this.database.hooks.afterCommit(tx, async () => this.settled.wake(orderId));
  }
}
