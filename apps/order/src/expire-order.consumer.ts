/**
 * An order that is still PENDING at its expiry is given up. The payment app decides, since the money may be taken while the
 * result is on its way. If it declines, the order is cancelled by that message, with the reason TIMEOUT.
 */
import { expiryRequested, findOrder, type OrderExpired, orderExpired } from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { LocalMessages, OnMessage } from 'nest-dtx';
import type { EntityManager } from 'typeorm';

@Controller()
export class ExpireOrderByLocalMessage {
  constructor(private readonly messages: LocalMessages) {}

  @OnMessage(orderExpired)
  async expire(tx: EntityManager, purchase: OrderExpired): Promise<void> {
    const order = await findOrder(tx, purchase.orderId);
    if (order?.status === 'PENDING') await this.messages.append(tx, expiryRequested, purchase);
  }
}
