/**
 * The order as steps of a purchase by saga. The first step joins the commit of the start, and the last one that of the final
 * mark, since both live in the database of the saga.
 */
import {
  cancelOrder,
  confirmOrder,
  confirmOrderStep,
  insertOrderBegun,
  type PurchaseOnTheWay,
  placeOrderStep,
  reasonOf,
} from '@nest-dtx/shop';
import { DtxDatabase } from 'nest-dtx';
import { Do, SagaStep, type SagaStepContext, Undo } from 'nest-dtx/saga';
import type { EntityManager } from 'typeorm';
import { SettledOrders } from './settled-order-waits.js';

@SagaStep(placeOrderStep)
export class PlaceOrder {
  constructor(
    private readonly database: DtxDatabase,
    private readonly settled: SettledOrders,
  ) {}

  @Do(placeOrderStep)
  async place(tx: EntityManager, purchase: PurchaseOnTheWay, { gid }: SagaStepContext): Promise<void> {
    mustBeOrderOf(gid, purchase);
    await insertOrderBegun(tx, purchase);
  }

  @Undo(placeOrderStep)
  async cancel(
    tx: EntityManager,
    purchase: PurchaseOnTheWay,
    { gid, reason = '' }: SagaStepContext<unknown>,
  ): Promise<void> {
    mustBeOrderOf(gid, purchase);
    await cancelOrder(tx, purchase, reasonOf({ reason }));
    this.database.hooks.afterCommit(tx, async () => this.settled.wake(purchase.orderId));
  }
}

@SagaStep(confirmOrderStep)
export class ConfirmOrder {
  constructor(
    private readonly database: DtxDatabase,
    private readonly settled: SettledOrders,
  ) {}

  @Do(confirmOrderStep)
  async confirm(tx: EntityManager, purchase: PurchaseOnTheWay, { gid }: SagaStepContext): Promise<void> {
    mustBeOrderOf(gid, purchase);
    await confirmOrder(tx, purchase);
    this.database.hooks.afterCommit(tx, async () => this.settled.wake(purchase.orderId));
  }
}

/** The barrier protects the gid, which is the order id. Otherwise a forged call could settle the order of another purchase. */
function mustBeOrderOf(gid: string, { orderId }: PurchaseOnTheWay): void {
  if (orderId !== gid) throw new Error(`order ${orderId} does not belong to saga ${gid}`);
}
