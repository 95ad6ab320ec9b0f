import { orderExpired, type PurchaseOnTheWay } from '@nest-dtx/shop';
import { Inject, Injectable } from '@nestjs/common';
import { LocalMessages } from 'nest-dtx';
import type { EntityManager } from 'typeorm';

/** The time in milliseconds after which a PENDING order expires (DTX_ORDER_EXPIRY_MS), or 0 for never. */
export const ORDER_EXPIRY_MS = Symbol('order expiry');

/**
 * The expiry of a PENDING order: a delayed message of the order app to itself, named after the order. It is written in the
 * commit of the order, and withdrawn in the commit that settles it.
 */
@Injectable()
export class OrderExpiry {
  constructor(
    private readonly messages: LocalMessages,
    @Inject(ORDER_EXPIRY_MS) private readonly dueInMs: number,
  ) {}

  async schedule(tx: EntityManager, purchase: PurchaseOnTheWay): Promise<void> {
    if (this.dueInMs === 0) return;
    await this.messages.append(tx, orderExpired, purchase, { dueInMs: this.dueInMs, name: purchase.orderId });
  }

  /** Before the statements that settle the order. The handler of the expiry never waits for this transaction then. */
  async withdraw(tx: EntityManager, { orderId }: Pick<PurchaseOnTheWay, 'orderId'>): Promise<void> {
    if (this.dueInMs === 0) return;
    await this.messages.cancel(tx, orderExpired, { name: orderId });
  }
}
