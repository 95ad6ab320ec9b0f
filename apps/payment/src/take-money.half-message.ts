/**
 * Step 5 of 6 - consume: the payment app's turn in a flash sale. The sale has happened, so a no is told to inventory,
 * which puts the stock back, and to order, which cancels; both may hear of it before they hear of the sale.
 */
import {
  captureMoney,
  declinePayment,
  type FlashSold,
  flashSold,
  paymentCaptured,
  paymentDeclined,
  reasonOf,
} from '@nest-dtx/shop';
import { Controller } from '@nestjs/common';
import { LocalMessages, OnMessage, OnRejected, type Rejected } from 'nest-dtx';
import { EntityManager } from 'typeorm';

@Controller()
export class TakeFlashMoneyByHalfMessage {
  constructor(private readonly messages: LocalMessages) {}

  @OnMessage(flashSold)
  async take(tx: EntityManager, sale: FlashSold): Promise<void> {
    await captureMoney(tx, sale);
    await this.messages.append(tx, paymentCaptured, sale);
  }

  @OnRejected(flashSold)
  async decline(tx: EntityManager, sale: FlashSold, no: Rejected): Promise<void> {
    const reason = reasonOf(no);
    await declinePayment(tx, sale, reason);
    await this.messages.append(tx, paymentDeclined, { ...sale, reason });
  }
}
