/** Steps 2 and 4 of 4 - take part: the money of a checkout by TCC is frozen, then captured or released. */
import {
  captureFrozen,
  freezeMoney,
  type PaymentFunds,
  paymentFunds,
  releaseFrozen,
  tellPaymentResult,
} from '@nest-dtx/shop';
import { Cancel, Confirm, Confirmed, Notifications, type TccBranch, TccParticipant, Try } from 'nest-dtx';
import { DataSource, type EntityManager } from 'typeorm';

@TccParticipant(paymentFunds)
export class FreezeFunds {
  constructor(
    private readonly notifications: Notifications,
    private readonly db: DataSource,
  ) {}

  @Try()
  async freeze(tx: EntityManager, funds: PaymentFunds): Promise<void> {
    await freezeMoney(tx, funds);
  }

  @Confirm()
  async capture(tx: EntityManager, funds: PaymentFunds, { gid: orderId }: TccBranch): Promise<void> {
    await captureFrozen(tx, orderId, funds);
  }

  /** The money is captured: the merchant is to hear of it, also when this Confirm is a repetition. */
  @Confirmed()
  async tell({ notifyUrl }: PaymentFunds, { gid: orderId }: TccBranch): Promise<void> {
    await tellPaymentResult(this.notifications, this.db.manager, { orderId, notifyUrl });
  }

  @Cancel()
  async release(tx: EntityManager, funds: PaymentFunds, { gid: orderId }: TccBranch): Promise<void> {
    await releaseFrozen(tx, orderId, funds);
  }
}
