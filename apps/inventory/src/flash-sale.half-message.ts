/**
 * Steps 1 to 3 of 6 - sell: the inventory app's flash sale. The prepared copy waits in the broker, then the stock and
 * the key are taken in one local transaction, then the message goes to order and payment.
 */
import { amountOf, flashSold, type Purchase, type PurchaseBody, PurchaseRefused, takeStock } from '@nest-dtx/shop';
import { Injectable } from '@nestjs/common';
import { Database, HalfMessages, IdempotencyKeys, idTimeMs, inTransaction, Rejected } from 'nest-dtx';
import { DataSource, EntityManager } from 'typeorm';

const ROUTE = 'POST /flash-sales';

/** What a key stands for: the accepted purchase, or why it was refused. */
type Told = { purchase: Purchase } | { orderId: string; refused: string };

/** The key stands for something already: nothing is begun, the half message rolls back. */
class ToldBefore extends Error {
  constructor(readonly told: Told) {
    super('told before');
  }
}

@Injectable()
export class FlashSaleByHalfMessage {
  constructor(
    private readonly db: DataSource,
    private readonly database: Database,
    private readonly halfMessages: HalfMessages,
    private readonly keys: IdempotencyKeys,
  ) {}

  /**
   * Sells at once what is there. With a key that was used before it answers as it did then.
   * @throws PurchaseRefused when there is not enough; IdempotencyKeyReused, IdempotencyKeyBusy
   * @throws BrokerUnavailable when the copy cannot be prepared: nothing has happened
   */
  async sell(body: PurchaseBody, key: string | undefined): Promise<Purchase> {
    const orderId = this.database.newId();
    const createdAt = new Date(idTimeMs(orderId)!).toISOString();
    const sale = { ...body, orderId, scheme: 'half-message' as const, amount: amountOf(body), createdAt };
    const { notifyUrl: _, ...shown } = sale;
    const purchase: Purchase = { ...shown, status: 'PENDING', updatedAt: createdAt };
    const claim = { key, body, orderId };
    try {
      await this.halfMessages.send(flashSold, sale, async (tx) => {
        await this.tell(tx, claim, { purchase });
        await takeStock(tx, sale);
      });
      return purchase;
    } catch (error) {
      if (error instanceof Rejected) return this.refuse(claim, error.reason);
      if (error instanceof ToldBefore) return answerOf(error.told);
      throw error;
    }
  }

  /** A refusal leaves nothing but its key, written in a commit of its own; what the key already says comes first. */
  private async refuse(claim: Claim, refused: string): Promise<Purchase> {
    const told: Told = { orderId: claim.orderId, refused };
    try {
      if (claim.key !== undefined) await inTransaction(this.db, (tx) => this.tell(tx, claim, told));
    } catch (error) {
      if (error instanceof ToldBefore) return answerOf(error.told);
      throw error;
    }
    return answerOf(told);
  }

  private async tell(tx: EntityManager, { key, body, orderId }: Claim, told: Told): Promise<void> {
    if (key === undefined) return;
    const owner = await this.keys.claim(tx, { route: ROUTE, key, body, gid: orderId });
    if (!owner.first) throw new ToldBefore(owner.outcome as Told);
    await this.keys.settle(tx, { route: ROUTE, key, outcome: told });
  }
}

interface Claim {
  readonly key: string | undefined;
  readonly body: PurchaseBody;
  readonly orderId: string;
}

function answerOf(told: Told): Purchase {
  if ('purchase' in told) return told.purchase;
  throw new PurchaseRefused(told.orderId, told.refused);
}
