/**
 * Steps 1 to 3 of 6 - sell: the inventory app's flash sale, by half message. A prepared copy waits in the broker; then
 * stock, key and verdict are one local transaction; then order and payment are told. There is no check-back to write:
 * the library's verdict row is the answer.
 */
import {
  acceptedViewOf,
  amountOf,
  type FlashSold,
  flashSold,
  type Purchase,
  type PurchaseBody,
  PurchaseRefused,
  takeStock,
} from '@nest-dtx/shop';
import { Injectable } from '@nestjs/common';
import { Database, HalfMessages, IdempotencyKeys, idTimeMs, inTransaction, Rejected } from 'nest-dtx';
import { DataSource, EntityManager } from 'typeorm';

const ROUTE = 'POST /flash-sales';

/** What a key stands for: a purchase, whose half message is committed, or a refusal. */
interface Known {
  gid: string;
  outcome: unknown;
}

interface Call {
  readonly key: string | undefined;
  readonly body: PurchaseBody;
  readonly orderId: string;
}

/** The key stands for something already: nothing is begun, the half message is rolled back. */
class KnownBefore extends Error {
  constructor(readonly known: Known) {
    super(`known before as ${known.gid}`);
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
   * Sells what is there. PENDING: the order and the money follow. With a key that was used before it answers as then.
   * @throws PurchaseRefused when there is not enough; IdempotencyKeyReused, IdempotencyKeyBusy
   * @throws BrokerUnavailable, RuledBack: nothing has happened
   */
  async sell(body: PurchaseBody, key: string | undefined): Promise<Purchase> {
    // A repeated call needs neither broker nor copy.
    const known = key === undefined ? null : await this.keys.find({ route: ROUTE, key, body });
    if (known) return this.answerOf(known);
    const orderId = this.database.newId();
    try {
      return await this.sellNow({ key, body, orderId });
    } catch (error) {
      if (error instanceof KnownBefore) return this.answerOf(error.known);
      if (!(error instanceof Rejected)) throw error;
      return this.refuse({ key, body, orderId }, error.reason);
    }
  }

  private async sellNow(call: Call): Promise<Purchase> {
    const { body, orderId } = call;
    // The id carries its time, by this database's clock.
    const createdAt = new Date(idTimeMs(orderId)!).toISOString();
    const sale = { ...body, orderId, scheme: 'half-message' as const, amount: amountOf(body), createdAt };
    await this.halfMessages.send(flashSold, sale, async (tx) => {
      await this.claimKey(tx, call);
      await takeStock(tx, sale);
    });
    return acceptedView(sale);
  }

  /**
   * The transaction of the sale was rolled back, and its key with it: the refusal is written in a commit of its own. Of
   * two calls with one key the first to commit is right: this one may be told of a sale after all.
   */
  private async refuse(call: Call, reason: string): Promise<Purchase> {
    const { key, orderId } = call;
    try {
      if (key !== undefined)
        await inTransaction(this.db, async (tx) => {
          await this.claimKey(tx, call);
          await this.keys.settle(tx, { route: ROUTE, key, outcome: { refused: reason } });
        });
    } catch (error) {
      if (error instanceof KnownBefore) return this.answerOf(error.known);
      throw error;
    }
    throw new PurchaseRefused(orderId, reason);
  }

  private async claimKey(tx: EntityManager, { key, body, orderId: gid }: Call): Promise<void> {
    if (key === undefined) return;
    const owner = await this.keys.claim(tx, { route: ROUTE, key, body, gid });
    if (!owner.first) throw new KnownBefore(owner);
  }

  /** The key and its half message were committed together: one without the other cannot be. */
  private async answerOf({ gid: orderId, outcome }: Known): Promise<Purchase> {
    const refused = (outcome as { refused?: string } | null)?.refused;
    if (refused) throw new PurchaseRefused(orderId, refused);
    const sale = await this.halfMessages.committed(flashSold, orderId);
    if (!sale) throw new Error(`flash sale ${orderId} is missing, though its Idempotency-Key is there`);
    return acceptedView(sale);
  }
}

function acceptedView(sale: FlashSold): Purchase {
  return acceptedViewOf({ ...sale, createdAt: new Date(sale.createdAt!) });
}
