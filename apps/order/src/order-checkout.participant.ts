/**
 * Steps 2 and 4 of 4 - take part: the order app's turn in TCC. Try writes the order PENDING; Confirm and Cancel settle
 * it. Whatever the participant's methods write is one local transaction with the library's barrier.
 */
import {
  cancelOrder,
  confirmOrder,
  insertOrderBegun,
  type OrderCheckout,
  orderCheckout,
  reasonOf,
} from '@nest-dtx/shop';
import { Cancel, Confirm, Database, type TccBranch, TccParticipant, Try } from 'nest-dtx';
import type { EntityManager } from 'typeorm';
import { SettledOrders } from './settled-orders.js';

@TccParticipant(orderCheckout)
export class OrderCheckoutParticipant {
  constructor(
    private readonly database: Database,
    private readonly settled: SettledOrders,
  ) {}

  @Try()
  async place(tx: EntityManager, purchase: OrderCheckout): Promise<void> {
    await insertOrderBegun(tx, purchase);
  }

  @Confirm()
  async confirm(tx: EntityManager, purchase: OrderCheckout, { decidedAt }: TccBranch): Promise<void> {
    await confirmOrder(tx, purchase, decidedAt);
    this.wakeAfterCommit(tx, purchase);
  }

  /** Also without a Try: a purchase that was refused before it came here can be read as CANCELLED all the same. */
  @Cancel({ withoutTry: true })
  async cancel(tx: EntityManager, purchase: OrderCheckout, { reason = '', decidedAt }: TccBranch): Promise<void> {
    await cancelOrder(tx, purchase, reasonOf({ reason }), decidedAt);
    this.wakeAfterCommit(tx, purchase);
  }

  /** For callers that wait in this process. Only a convenience: should it be lost, they find out by asking. */
  private wakeAfterCommit(tx: EntityManager, { orderId }: OrderCheckout): void {
    this.database.hooks.afterCommit(tx, async () => this.settled.wake(orderId));
  }
}
