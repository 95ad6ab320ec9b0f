/**
 * Step 5 of 6 - consume: the order app hears of a flash sale. What becomes of the money comes by messages of its own, by
 * the local message table (see `settle-order.consumer.ts`), and may come first: then the order is there, settled.
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
