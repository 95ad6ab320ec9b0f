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

  /**
   * Settles the order and withdraws its expiry, in this order of locks: the handler of the expiry never waits for this
   * transaction then. A result may overtake the flash sale that it is of. `settle` waits for the commit that records the sale,
   * and the expiry of that commit is found afterwards alone.
   */
  async settleAndWithdraw(
    tx: EntityManager,
    { orderId }: { orderId: string },
    settle: () => Promise<void>,
  ): Promise<void> {
    const withdrawn = this.dueInMs > 0 && (await this.messages.cancel(tx, orderExpired, { name: orderId }));
    await settle();
    if (withdrawn === 'NOT_FOUND') await this.messages.cancel(tx, orderExpired, { name: orderId });
  }
}
