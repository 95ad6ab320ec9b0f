/** The money as the pivot of a purchase by saga: captured at once. It has no Undo, and nothing is frozen. */
import { captureMoney, type PurchaseOnTheWay, publishPaymentResult, takeMoneyStep } from '@nest-dtx/shop';
import { Notifications } from 'nest-dtx';
import { Do, Done, SagaStep } from 'nest-dtx/saga';
import { DataSource, type EntityManager } from 'typeorm';

@SagaStep(takeMoneyStep)
export class TakeMoney {
  constructor(
    private readonly notifications: Notifications,
    private readonly db: DataSource,
  ) {}

  @Do(takeMoneyStep)
  async take(tx: EntityManager, purchase: PurchaseOnTheWay): Promise<void> {
    await captureMoney(tx, purchase);
  }

  /** Notifies the merchant of the captured money. A repeated Do notifies again, under the same id. */
  @Done(takeMoneyStep)
  async publishResult({ orderId, notifyUrl }: PurchaseOnTheWay): Promise<void> {
    await publishPaymentResult(this.notifications, this.db.manager, { orderId, notifyUrl });
  }
}
