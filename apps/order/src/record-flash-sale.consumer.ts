/**
 * Step 5 of 6 - consume: the order app records a flash sale. The payment result arrives by the local message table (see
 * `settle-order.consumer.ts`). It may arrive first, and the order is then already settled.
 */
import { type FlashSold, flashSold, insertOrderUnlessSettled } from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { OnMessage } from 'nest-dtx';
import { EntityManager } from 'typeorm';

@Controller()
export class RecordFlashSaleByHalfMessage {
  @OnMessage(flashSold)
  async record(tx: EntityManager, sale: FlashSold): Promise<void> {
    await insertOrderUnlessSettled(tx, sale);
  }
}
