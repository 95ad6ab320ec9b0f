/**
 * Steps 1 to 3 of 4 - check out: the payment app starts a TCC transaction over order, money and stock. Every answer is
 * derived from the transaction, so a replay with the same key gets the same answer.
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
import { DtxDatabase, IdempotencyKeyBusy, IdempotencyKeys, idTimeMs, Tcc, type TccOutcome } from 'nest-dtx';
import type { EntityManager } from 'typeorm';

const ROUTE = 'POST /checkouts';
/** Longest wait of a reader for the second phase of a decided transaction. */
const READ_WAIT_MS = 2_000;
const PENDING_MAX = 1_000;

/** The key already belongs to a transaction, so no new one is started. */
class BegunBefore extends Error {
  constructor(readonly orderId: string) {
    super(`Idempotency-Key already used by checkout ${orderId}`);
  }
}

@Injectable()
export class PurchaseByTcc {
  /**
   * Undecided checkouts that this process has answered with PENDING. The database was unavailable then, so the answer is
   * known here only. A replay at another instance gets 409 until the decision, which the deadline makes.
   */
  private readonly pending = new Set<string>();

  constructor(
    private readonly tcc: Tcc,
    private readonly database: DtxDatabase,
    private readonly keys: IdempotencyKeys,
  ) {}

  /**
   * Makes a purchase. A repeated call with the same key returns the outcome of the first. PENDING means that the outcome is
   * not known yet.
   * @throws IdempotencyKeyReused, IdempotencyKeyBusy
   * @throws any error of the registration of the transaction. Nothing was started.
   */
  async checkOut(body: PurchaseBody, key: string | undefined): Promise<Purchase> {
    const orderId = this.database.newId();
    // The id contains its time, by the clock of this database.
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
      if (outcome.status === 'PENDING') this.rememberPending(orderId);
      return viewOf(purchase, outcome);
    } catch (error) {
      if (error instanceof BegunBefore) return this.replay(error.orderId);
      throw error;
    }
  }

  /** The state of a checkout by this app's transaction log, or null. */
  async find(orderId: string): Promise<Purchase | null> {
    const outcome = await this.tcc.outcome(orderId, READ_WAIT_MS);
    const purchase = outcome && (await this.tcc.argsOf(orderId, orderCheckout));
    return purchase && viewOf(purchase, outcome);
  }

  private async replay(orderId: string): Promise<Purchase> {
    const outcome = await this.tcc.outcome(orderId);
    if (outcome?.status === 'PENDING' && !this.pending.has(orderId))
      throw new IdempotencyKeyBusy(`checkout ${orderId} is not decided yet`);
    const purchase = await this.find(orderId);
    if (!purchase)
      throw new Error(
        `cannot replay ${ROUTE}: ${orderId} is missing in dtx_tcc, but its Idempotency-Key is in dtx_idempotency; ` +
          `one commit writes both, so a row was deleted: see npm run trace -- ${orderId}`,
      );
    return purchase;
  }

  private rememberPending(orderId: string): void {
    const [oldest] = this.pending;
    if (this.pending.size >= PENDING_MAX) this.pending.delete(oldest!);
    this.pending.add(orderId);
  }

  private async claim(tx: EntityManager, call: { key: string; body: PurchaseBody; orderId: string }): Promise<void> {
    const { key, body, orderId: gid } = call;
    const owner = await this.keys.claim(tx, { route: ROUTE, key, body, gid });
    if (!owner.first) throw new BegunBefore(owner.gid);
  }
}

/**
 * The answer to a caller. CANCELLED is shown as PENDING until the order app has cancelled the order, so that a refused
 * caller never reads another state there.
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
