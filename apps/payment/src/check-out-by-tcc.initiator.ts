/**
 * Steps 1 to 3 of 4 - check out: the payment app starts a TCC transaction over order, money and goods. All that the
 * caller is told is derived from the transaction, so a replay with the same key is told the same.
 */
import {
  amountOf,
  inventoryStock,
  type OrderCheckout,
  orderCheckout,
  type Purchase,
  type PurchaseBody,
  paymentFunds,
  reasonOf,
} from '@nest-dtx/shop';
import { Injectable } from '@nestjs/common';
import { Database, IdempotencyKeyBusy, IdempotencyKeys, idTimeMs, Tcc, type TccOutcome } from 'nest-dtx';
import type { EntityManager } from 'typeorm';

const ROUTE = 'POST /checkouts';
/** How long a reader waits for an outcome that is being carried out. */
const READ_WAIT_MS = 2_000;

/** The key stands for a transaction already: nothing is begun. */
class BegunBefore extends Error {
  constructor(readonly orderId: string) {
    super(`begun before as ${orderId}`);
  }
}

@Injectable()
export class PurchaseByTcc {
  constructor(
    private readonly tcc: Tcc,
    private readonly database: Database,
    private readonly keys: IdempotencyKeys,
  ) {}

  /**
   * Makes a purchase, or tells what the one of the same key came to. PENDING only when that is not known yet.
   * @throws IdempotencyKeyReused, IdempotencyKeyBusy; what registering the transaction throws: then nothing was begun
   */
  async checkOut(body: PurchaseBody, key: string | undefined): Promise<Purchase> {
    const orderId = this.database.newId();
    // The id carries its time, by this database's clock.
    const createdAt = new Date(idTimeMs(orderId)!).toISOString();
    const purchase = { ...body, orderId, scheme: 'tcc' as const, amount: amountOf(body), createdAt };
    const { buyerId, sku, quantity, amount, notifyUrl } = purchase;
    const within = key === undefined ? {} : { within: (tx: EntityManager) => this.claim(tx, { key, body, orderId }) };
    try {
      const outcome = await this.tcc.run({ gid: orderId, ...within }, (t) => {
        t.call(orderCheckout, purchase);
        t.call(paymentFunds, { buyerId, amount, notifyUrl });
        t.call(inventoryStock, { sku, quantity });
      });
      return viewOf(purchase, outcome);
    } catch (error) {
      if (error instanceof BegunBefore) return this.replay(error.orderId);
      throw error;
    }
  }

  /** The checkout as this app knows it, or null. */
  async find(orderId: string): Promise<Purchase | null> {
    const outcome = await this.tcc.outcome(orderId, READ_WAIT_MS);
    const purchase = outcome && (await this.tcc.argsOf(orderId, orderCheckout));
    return purchase && viewOf(purchase, outcome);
  }

  private async replay(orderId: string): Promise<Purchase> {
    const outcome = await this.tcc.outcome(orderId);
    if (outcome?.status === 'PENDING') throw new IdempotencyKeyBusy(`checkout ${orderId} is not decided yet`);
    const purchase = await this.find(orderId);
    if (!purchase) throw new Error(`checkout ${orderId} is missing, though its Idempotency-Key is there`);
    return purchase;
  }

  private async claim(tx: EntityManager, call: { key: string; body: PurchaseBody; orderId: string }): Promise<void> {
    const { key, body, orderId: gid } = call;
    const owner = await this.keys.claim(tx, { route: ROUTE, key, body, gid });
    if (!owner.first) throw new BegunBefore(owner.gid);
  }
}

/**
 * What a caller may be told. A cancel that the order app may not have heard of is PENDING to the caller too: whoever
 * was told of a refusal must never read the order as anything else.
 */
function viewOf(purchase: OrderCheckout, { status, reason = '', decidedAt, waitingFor }: TccOutcome): Purchase {
  const { orderId, scheme, buyerId, sku, quantity, amount } = purchase;
  const createdAt = purchase.createdAt!;
  const view = { orderId, scheme, buyerId, sku, quantity, amount };
  const isReadable = status !== 'CANCELLED' || !waitingFor.includes(orderCheckout.name);
  if (!decidedAt || !isReadable) return { ...view, status: 'PENDING', createdAt, updatedAt: createdAt };
  const updatedAt = new Date(Math.max(decidedAt.getTime(), Date.parse(createdAt))).toISOString();
  const why = status === 'CANCELLED' ? { reason: reasonOf({ reason }) } : {};
  return { ...view, status, ...why, createdAt, updatedAt };
}
