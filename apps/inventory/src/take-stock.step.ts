/** The stock as a step of a purchase by saga: sold at once, and back on the shelf by Undo. Nothing is reserved. */
import { type PurchaseOnTheWay, putBack, takeStock, takeStockStep } from '@nest-dtx/shop';
import { Do, SagaStep, Undo } from 'nest-dtx/saga';
import type { EntityManager } from 'typeorm';

@SagaStep(takeStockStep)
export class TakeStock {
  @Do(takeStockStep)
  async take(tx: EntityManager, purchase: PurchaseOnTheWay): Promise<void> {
    await takeStock(tx, purchase);
  }

  @Undo(takeStockStep)
  async giveBack(tx: EntityManager, purchase: PurchaseOnTheWay): Promise<void> {
    await putBack(tx, purchase);
  }
}
