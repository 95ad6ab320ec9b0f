/**
 * Steps 1 to 3 of 5 - place: a purchase over three databases in one process. The branches of stock and money are prepared.
 * The commit of the order and the idempotency key is the decision.
 */
import {
  amountOf,
  cancelOrder,
  captureMoney,
  findOrder,
  insertConfirmedOrder,
  type NewOrder,
  type Order,
  type Purchase,
  type PurchaseBody,
  paymentNotification,
  reasonOf,
  takeStock,
  viewOf,
} from '@nest-dtx/shop';
import { Injectable } from '@nestjs/common';
import { DtxDatabase, IdempotencyKeys, inTransaction, Notifications, Rejected, Xa } from 'nest-dtx';
import { DataSource, type EntityManager } from 'typeorm';

const ROUTE = 'POST /orders/xa';

/** The key already belongs to a purchase. The transaction that found this out is rolled back. */
class PlacedBefore extends Error {
  constructor(readonly orderId: string) {
    super(`Idempotency-Key already used by order ${orderId}`);
  }
}

/** The columns of an order that a notification needs. */
type Paid = Pick<Order, 'orderId' | 'buyerId' | 'amount' | 'createdAt' | 'notifyUrl'>;

@Injectable()
export class PlaceOrderByXa {
  /** Orders that this process is placing. Their results are published without a read. A scan reads the row. */
  private readonly placing = new Map<string, Paid>();

  constructor(
    private readonly db: DataSource,
    private readonly database: DtxDatabase,
    private readonly keys: IdempotencyKeys,
    private readonly xa: Xa,
    private readonly notifications: Notifications,
  ) {
    xa.beforeDone((orderId) => this.publishResult(orderId));
  }

  /**
   * Makes a purchase, CONFIRMED or CANCELLED on return. A repeated call with the same key returns the outcome of the first.
   * @throws IdempotencyKeyReused, IdempotencyKeyBusy
   * @throws XaUnavailable or OutcomeUnknown. A retry with the same key finds out the outcome.
   */
  async place(body: PurchaseBody, key: string | undefined): Promise<Purchase> {
    // A used key is answered first, even if the other databases are unavailable.
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
    } finally {
      this.placing.delete(orderId);
    }
  }

  private commit(order: NewOrder, claim: (tx: EntityManager) => Promise<void>): Promise<Purchase> {
    const { orderId, buyerId, sku, quantity, amount } = order;
    return this.xa.run(
      ['order', 'payment', 'inventory'],
      async ({ order: orders, payment, inventory }) => {
        await claim(orders);
        // All purchases lock in this order, since no server detects a deadlock across two servers.
        await takeStock(inventory, order);
        await captureMoney(payment, order);
        const createdAt = await insertConfirmedOrder(orders, order);
        this.placing.set(orderId, { orderId, buyerId, amount, createdAt, notifyUrl: order.notifyUrl ?? null });
        const view = { orderId, scheme: 'xa' as const, buyerId, sku, quantity, amount };
        return viewOf({ ...view, status: 'CONFIRMED', reason: null, createdAt, updatedAt: createdAt });
      },
      { gid: orderId },
    );
  }

  /** Stores the refusal after the rollback. One commit writes the key and the CANCELLED order, so a retry gets the same answer. */
  private async refuse(
    order: NewOrder,
    claim: (tx: EntityManager) => Promise<void>,
    rejection: Rejected,
  ): Promise<Purchase> {
    try {
      await inTransaction(this.db, async (tx) => {
        await claim(tx);
        await cancelOrder(tx, order, reasonOf(rejection));
      });
      return await this.placedBefore(order.orderId);
    } catch (error) {
      // The rollback released the key, and another call with it has finished meanwhile. Its outcome holds.
      if (error instanceof PlacedBefore) return this.placedBefore(error.orderId);
      throw error;
    }
  }

  /** Publishes the payment result, since this app has captured the money of the purchase. */
  private async publishResult(orderId: string): Promise<void> {
    const order = this.placing.get(orderId) ?? (await findOrder(this.db.manager, orderId));
    if (order === null || !this.notifications.isFor(order.notifyUrl ?? undefined)) return;
    const payment = { ...order, status: 'CAPTURED' as const };
    await this.notifications.publish(paymentNotification(payment, order.notifyUrl ?? undefined));
  }

  private async placedBefore(orderId: string): Promise<Purchase> {
    const order = await findOrder(this.db.manager, orderId);
    if (order === null)
      throw new Error(
        `cannot replay ${ROUTE}: order ${orderId} is missing in orders, but its Idempotency-Key is in dtx_idempotency; ` +
          `one commit writes both, so a row was deleted: see npm run trace -- ${orderId}`,
      );
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
