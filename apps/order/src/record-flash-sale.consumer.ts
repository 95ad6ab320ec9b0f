/**
 * Step 5 of 6 - consume: the order app records a flash sale. The payment result arrives by the local message table (see
 * `settle-order.consumer.ts`). It may arrive first, and the order is then already settled.
 */
import { type FlashSold, flashSold, insertOrderUnlessSettled } from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { OnMessage } from 'nest-dtx';
import { EntityManager } from 'typeorm';
import { OrderExpiry } from './order-expiry.js';

@Controller()
export class RecordFlashSaleByHalfMessage {
  constructor(private readonly expiry: OrderExpiry) {}

  @OnMessage(flashSold, { messagesPerTransaction: 16 })
  async record(tx: EntityManager, sale: FlashSold): Promise<void> {
    if (await insertOrderUnlessSettled(tx, sale)) await this.expiry.schedule(tx, sale);
  }
}
