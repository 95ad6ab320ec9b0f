/** Steps 2 and 4 of 4 - take part: the money as a TCC participant. Try freezes it, Confirm captures it, Cancel releases it. */
import {
  captureFrozen,
  freezeMoney,
  type PaymentFunds,
  paymentFunds,
  paymentNotification,
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

  async capture(tx: EntityManager, funds: PaymentFunds, { gid: orderId, decidedAt }: TccBranch): Promise<void> {
    await captureFrozen(tx, orderId, { ...funds, capturedAt: decidedAt });
  }

  /**
   * Notifies the merchant of the captured money. A repeated Confirm notifies again, with the same content under the same
   * id. The payment row has the time of the decision, so it need not be read.
   */
  async publishResult(funds: PaymentFunds, { gid: orderId, decidedAt }: TccBranch): Promise<void> {
    const { buyerId, amount, notifyUrl } = funds;
    if (!this.notifications.isFor(notifyUrl)) return;
    if (!decidedAt) return publishPaymentResult(this.notifications, this.db.manager, { orderId, notifyUrl });
    const payment = { orderId, buyerId, amount, status: 'CAPTURED', createdAt: decidedAt } as const;
    await this.notifications.publish(paymentNotification(payment, notifyUrl));
  }

  async release(tx: EntityManager, funds: PaymentFunds, { gid: orderId }: TccBranch): Promise<void> {
    await releaseFrozen(tx, orderId, funds);
  }
}
