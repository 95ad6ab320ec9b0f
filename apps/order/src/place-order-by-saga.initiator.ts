/**
 * Step 1 of 5 - start: the order app starts the saga. One local transaction has the idempotency key, the saga and its first
 * step, which inserts the order. Every answer is the order, so a replay with the same key gets the same answer.
 */
import { amountOf, type Purchase, type PurchaseBody, viewOf } from '@nest-dtx/shop';
import { Injectable } from '@nestjs/common';
import { DtxDatabase, IdempotencyKeys, idTimeMs, SharedTransactions } from 'nest-dtx';
import { Sagas } from 'nest-dtx/saga';
import { OrderReads } from './batched-order-reads.js';
import { purchaseSaga } from './purchase.saga.js';

const ROUTE = 'POST /orders/saga';
/** Longest wait of a caller for the end of the saga. Afterwards the order is PENDING, and can be followed. */
const ANSWER_WAIT_MS = 5_000;

@Injectable()
export class PlaceOrderBySaga {
  constructor(
    private readonly shared: SharedTransactions,
    private readonly database: DtxDatabase,
    private readonly keys: IdempotencyKeys,
    private readonly sagas: Sagas,
    private readonly orders: OrderReads,
  ) {}

  /**
   * Makes a purchase. A repeated call with the same key returns the outcome of the first. PENDING means that the outcome is
   * not known yet.
   * @throws IdempotencyKeyReused, IdempotencyKeyBusy
   * @throws any error of the start. Nothing was started.
   */
  async place(body: PurchaseBody, key: string | undefined): Promise<Purchase> {
    const newId = this.database.newId();
    const orderId = await this.shared.run('start the saga of an order', async (tx) => {
      if (key !== undefined) {
        const claim = await this.keys.claim(tx, { route: ROUTE, key, body, gid: newId });
        if (!claim.first) return claim.gid;
      }
      // The id contains its time, by the clock of this database.
      const createdAt = new Date(idTimeMs(newId)!).toISOString();
      const purchase = { ...body, orderId: newId, scheme: 'saga' as const, amount: amountOf(body), createdAt };
      return this.sagas.start(tx, purchaseSaga, purchase, { gid: newId });
    });
    await this.sagas.outcome(orderId, ANSWER_WAIT_MS);
    const order = await this.orders.find(orderId);
    if (order === null)
      throw new Error(
        `cannot answer ${ROUTE}: order ${orderId} is missing in orders, but its saga was started; ` +
          `one commit writes both, so a row was deleted: see npm run trace -- ${orderId}`,
      );
    return viewOf(order);
  }
}
