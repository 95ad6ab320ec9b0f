/** Steps 2 and 4 of 4 - take part: the money as a TCC participant. Try freezes it, Confirm captures it, Cancel releases it. */
import {
  captureFrozen,
  freezeMoney,
  type PaymentFunds,
  paymentFunds,
  publishPaymentResult,
  releaseFrozen,
} from '@nest-dtx/shop';
import { Notifications, type TccBranch, TccParticipant } from 'nest-dtx';
import { DataSource, type EntityManager } from 'typeorm';

@TccParticipant(paymentFunds, { try: 'freeze', confirm: 'capture', cancel: 'release', confirmed: 'publishResult' })
export class FreezeFunds {
  constructor(
    private readonly notifications: Notifications,
    private readonly db: DataSource,
  ) {}

  async freeze(tx: EntityManager, funds: PaymentFunds): Promise<void> {
    await freezeMoney(tx, funds);
  }

  async capture(tx: EntityManager, funds: PaymentFunds, { gid: orderId }: TccBranch): Promise<void> {
    await captureFrozen(tx, orderId, funds);
  }

  /** Notifies the merchant of the captured money. A repeated Confirm notifies again, under the same id. */
  async publishResult({ notifyUrl }: PaymentFunds, { gid: orderId }: TccBranch): Promise<void> {
    await publishPaymentResult(this.notifications, this.db.manager, { orderId, notifyUrl });
  }

  async release(tx: EntityManager, funds: PaymentFunds, { gid: orderId }: TccBranch): Promise<void> {
    await releaseFrozen(tx, orderId, funds);
  }
}
