/** Step 5 of 6 - consume: the order app hears of a flash sale and has an order from then on. */
import { type FlashSold, findOrder, flashSold, insertOrderBegun } from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { OnMessage } from 'nest-dtx';
import { EntityManager } from 'typeorm';

@Controller()
export class RecordFlashSaleByHalfMessage {
  /**
   * The payment's result may have come first and made the order, settled: then there is nothing to do. Should it come
   * between the look and the INSERT, the key is taken, the delivery is tried again and finds the order.
   */
  @OnMessage(flashSold)
  async record(tx: EntityManager, sale: FlashSold): Promise<void> {
    if ((await findOrder(tx, sale.orderId)) === null) await insertOrderBegun(tx, sale);
  }
}
