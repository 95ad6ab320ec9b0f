/**
 * Steps 2 and 4 of 4 - take part: the order as a TCC participant. Try inserts the order as PENDING. Confirm and Cancel
 * settle it. Each phase is one local transaction with the library's barrier.
 */
import {
  cancelOrder,
  confirmOrder,
  insertOrderBegun,
  type OrderCheckout,
  orderCheckout,
  reasonOf,
} from '@nest-dtx/shop';
import { DtxDatabase, type TccBranch, TccParticipant } from 'nest-dtx';
import type { EntityManager } from 'typeorm';
import { SettledOrders } from './settled-order-waits.js';

@TccParticipant(orderCheckout, { try: 'place', confirm: 'confirm', cancel: 'cancel', cancelWithoutTry: true })
export class OrderCheckoutParticipant {
  constructor(
    private readonly database: DtxDatabase,
    private readonly settled: SettledOrders,
  ) {}

  async place(tx: EntityManager, purchase: OrderCheckout, { gid }: TccBranch): Promise<void> {
    mustBeOrderOf(gid, purchase);
    await insertOrderBegun(tx, purchase);
  }

  async confirm(tx: EntityManager, purchase: OrderCheckout, { gid, decidedAt }: TccBranch): Promise<void> {
    mustBeOrderOf(gid, purchase);
    await confirmOrder(tx, purchase, decidedAt);
    this.wakeAfterCommit(tx, purchase);
  }

  /** Runs even without a Try, so that a purchase refused before its Try here is readable as CANCELLED. */
  async cancel(tx: EntityManager, purchase: OrderCheckout, { gid, reason = '', decidedAt }: TccBranch): Promise<void> {
    mustBeOrderOf(gid, purchase);
    await cancelOrder(tx, purchase, reasonOf({ reason }), decidedAt);
    this.wakeAfterCommit(tx, purchase);
  }

  /** Wakes callers that wait in this process. If the process dies before, callers of other instances poll the database. */
  private wakeAfterCommit(tx: EntityManager, { orderId }: OrderCheckout): void {
    this.database.hooks.afterCommit(tx, async () => this.settled.wake(orderId));
  }
}

/**
 * The initiator uses the id of the order as gid, and the barrier protects the gid. Otherwise a wrong or forged call could
 * settle the order of another purchase.
 */
function mustBeOrderOf(gid: string, { orderId }: OrderCheckout): void {
  if (orderId !== gid) throw new Error(`order ${orderId} does not belong to transaction ${gid}`);
}
