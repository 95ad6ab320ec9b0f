/**
 * Step 1 of 6 - place: the order app accepts a purchase. One local transaction inserts the order, the idempotency key,
 * the message and the delayed message of the expiry. After its commit the purchase will be settled, even if a process dies.
 */

import { SettlementPace } from '@nest-dtx/host';
import {
  acceptedViewOf,
  amountOf,
  findOrder,
  insertOrder,
  orderPlaced,
  type Purchase,
  type PurchaseBody,
} from '@nest-dtx/shop';
import { Injectable } from '@nestjs/common';
import { DtxDatabase, IdempotencyKeys, LocalMessages, SharedTransactions } from 'nest-dtx';
import { EntityManager } from 'typeorm';
import { OrderExpiry } from './order-expiry.js';

const ROUTE = 'POST /orders';

@Injectable()
export class PlaceOrderByLocalMessage {
  constructor(
    private readonly shared: SharedTransactions,
    private readonly database: DtxDatabase,
    private readonly keys: IdempotencyKeys,
    private readonly messages: LocalMessages,
    private readonly expiry: OrderExpiry,
    private readonly pace: SettlementPace,
  ) {}

  /**
   * Accepts a purchase. A repeated call with the same key returns the first answer and does nothing.
   * @throws IdempotencyKeyReused, IdempotencyKeyBusy
   */
  async place(body: PurchaseBody, key: string | undefined): Promise<Purchase> {
    await this.pace.turn();
    const orderId = this.database.newId();
    return this.shared.run('place an order', async (tx) => {
      if (key !== undefined) {
        const claim = await this.keys.claim(tx, { route: ROUTE, key, body, gid: orderId });
        if (!claim.first) return this.acceptedBefore(tx, claim.gid);
      }
      const order = { ...body, orderId, scheme: 'local-message' as const, amount: amountOf(body) };
      const createdAt = await insertOrder(tx, order);
      const placed = { ...order, createdAt: createdAt.toISOString() };
      await this.messages.append(tx, orderPlaced, placed);
      await this.expiry.schedule(tx, placed);
      return acceptedViewOf({ ...order, createdAt });
    });
  }

  /** The order of a used key. The key and the order were written by the same commit. */
  private async acceptedBefore(tx: EntityManager, orderId: string): Promise<Purchase> {
    const order = await findOrder(tx, orderId);
    if (order === null)
      throw new Error(
        `cannot replay ${ROUTE}: order ${orderId} is missing in orders, but its Idempotency-Key is in dtx_idempotency; ` +
          `one commit writes both, so a row was deleted: see npm run trace -- ${orderId}`,
      );
    return acceptedViewOf(order);
  }
}
