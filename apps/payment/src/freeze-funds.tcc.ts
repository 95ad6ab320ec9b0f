/** Steps 2 and 4 of 4 - take part: the money of a checkout by TCC is frozen, then captured or released. */
import { captureFrozen, freezeMoney, type PaymentFunds, paymentFunds, releaseFrozen } from '@nest-dtx/shop';
import { Cancel, Confirm, type TccBranch, TccParticipant, Try } from 'nest-dtx';
import type { EntityManager } from 'typeorm';

@TccParticipant(paymentFunds)
export class FreezeFunds {
  @Try()
  async freeze(tx: EntityManager, funds: PaymentFunds): Promise<void> {
    await freezeMoney(tx, funds);
  }

  @Confirm()
  async capture(tx: EntityManager, funds: PaymentFunds, { gid: orderId }: TccBranch): Promise<void> {
    await captureFrozen(tx, orderId, funds);
  }

  @Cancel()
  async release(tx: EntityManager, funds: PaymentFunds, { gid: orderId }: TccBranch): Promise<void> {
    await releaseFrozen(tx, orderId, funds);
  }
}
