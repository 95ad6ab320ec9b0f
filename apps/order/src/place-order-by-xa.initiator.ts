/**
 * Steps 1 to 3 of 5 - place: a purchase over three databases in one program. Order, stock and money are prepared
 * together, and the commit of the order and the caller's key is the decision.
 */
import {
  amountOf,
  cancelOrder,
  captureMoney,
  findOrder,
  insertConfirmedOrder,
  type NewOrder,
  type Purchase,
  type PurchaseBody,
  paymentNotification,
  reasonOf,
  takeStock,
  viewOf,
} from '@nest-dtx/shop';
import { Injectable } from '@nestjs/common';
import { Database, IdempotencyKeys, inTransaction, Notifications, Rejected, Xa } from 'nest-dtx';
import { DataSource, type EntityManager } from 'typeorm';

const ROUTE = 'POST /orders/xa';

/** The key stands for a purchase already: what was begun beside it is rolled back. */
class PlacedBefore extends Error {
  constructor(readonly orderId: string) {
    super(`placed before as ${orderId}`);
  }
}

@Injectable()
export class PlaceOrderByXa {
  constructor(
    private readonly db: DataSource,
    private readonly database: Database,
    private readonly keys: IdempotencyKeys,
    private readonly xa: Xa,
    private readonly notifications: Notifications,
  ) {
    xa.beforeDone((orderId) => this.tell(orderId));
  }

  /**
   * Makes a purchase, CONFIRMED or CANCELLED when this returns, or tells what the one of the same key came to.
   * @throws IdempotencyKeyReused, IdempotencyKeyBusy; XaUnavailable and OutcomeUnknown: the same key finds out later
   */
  async place(body: PurchaseBody, key: string | undefined): Promise<Purchase> {
    // Before any other database is asked: what is known is told also while they are away.
    const before = key === undefined ? null : await this.keys.find({ route: ROUTE, key, body });
    if (before) return this.placedBefore(before.gid);
    const orderId = this.database.newId();
    const order: NewOrder = { ...body, orderId, scheme: 'xa', amount: amountOf(body) };
    const claim = (tx: EntityManager) => this.claim(tx, { key, body, orderId });
    try {
      return await this.commit(order, claim);
    } catch (error) {
      if (error instanceof PlacedBefore) return this.placedBefore(error.orderId);
      if (error instanceof Rejected) return this.refuse(order, claim, error);
      throw error;
    }
  }

  private commit(order: NewOrder, claim: (tx: EntityManager) => Promise<void>): Promise<Purchase> {
    const { orderId, buyerId, sku, quantity, amount } = order;
    return this.xa.run(
      ['order', 'payment', 'inventory'],
      async ({ order: orders, payment, inventory }) => {
        await claim(orders);
        // One order of locks for everybody, across servers: none of them would see a deadlock of two.
        await takeStock(inventory, order);
        await captureMoney(payment, order);
        const createdAt = await insertConfirmedOrder(orders, order);
        const view = { orderId, scheme: 'xa' as const, buyerId, sku, quantity, amount };
        return viewOf({ ...view, status: 'CONFIRMED', reason: null, createdAt, updatedAt: createdAt });
      },
      { gid: orderId },
    );
  }

  /** All was rolled back. Key and outcome, which is the order itself, are one commit: a repetition is told the same. */
  private async refuse(order: NewOrder, claim: (tx: EntityManager) => Promise<void>, no: Rejected): Promise<Purchase> {
    try {
      await inTransaction(this.db, async (tx) => {
        await claim(tx);
        await cancelOrder(tx, order, reasonOf(no));
      });
      return await this.placedBefore(order.orderId);
    } catch (error) {
      // Another call with this key was let in by the rollback, and has ended meanwhile: what it came to holds.
      if (error instanceof PlacedBefore) return this.placedBefore(error.orderId);
      throw error;
    }
  }

  /** The money of this purchase was taken here, so it is this app that tells of it, as the payment app does of its own. */
  private async tell(orderId: string): Promise<void> {
    const order = await findOrder(this.db.manager, orderId);
    if (order === null || !this.notifications.isFor(order.notifyUrl ?? undefined)) return;
    const payment = { ...order, status: 'CAPTURED' as const };
    await this.notifications.publish(paymentNotification(payment, order.notifyUrl ?? undefined));
  }

  private async placedBefore(orderId: string): Promise<Purchase> {
    const order = await findOrder(this.db.manager, orderId);
    if (order === null) throw new Error(`order ${orderId} is missing, though its Idempotency-Key is there`);
    return viewOf(order);
  }

  private async claim(
    tx: EntityManager,
    call: { key: string | undefined; body: PurchaseBody; orderId: string },
  ): Promise<void> {
    const { key, body, orderId: gid } = call;
    if (key === undefined) return;
    const owner = await this.keys.claim(tx, { route: ROUTE, key, body, gid });
    if (!owner.first) throw new PlacedBefore(owner.gid);
  }
}
