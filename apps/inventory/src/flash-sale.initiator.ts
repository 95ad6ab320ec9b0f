/**
 * Steps 1 to 3 of 6 - sell: a flash sale by half message. The prepared message waits in the broker. Stock, idempotency key
 * and verdict are one local transaction. Then the message goes to order and payment. The app writes no check-back, since
 * the library's verdict row answers it.
 */
import { SettlementPace } from '@nest-dtx/host';
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
import { Injectable, OnModuleDestroy, OnModuleInit } from '@nestjs/common';
import { DtxDatabase, HalfMessages, IdempotencyKeys, idTimeMs, inTransaction, onMeasured, Rejected } from 'nest-dtx';
import { DataSource, EntityManager } from 'typeorm';

const ROUTE = 'POST /flash-sales';

/** The result of a used key: a purchase with a committed half message, or a refusal. */
interface Known {
  gid: string;
  outcome: unknown;
}

interface Call {
  readonly key: string | undefined;
  readonly body: PurchaseBody;
  readonly orderId: string;
}

/** The key was already used, so the half message is rolled back. */
class KnownBefore extends Error {
  constructor(readonly known: Known) {
    super(`Idempotency-Key already used by flash sale ${known.gid}`);
  }
}

@Injectable()
export class FlashSaleByHalfMessage implements OnModuleInit, OnModuleDestroy {
  private stopListening = () => {};

  constructor(
    private readonly db: DataSource,
    private readonly database: DtxDatabase,
    private readonly halfMessages: HalfMessages,
    private readonly keys: IdempotencyKeys,
    private readonly pace: SettlementPace,
  ) {}

  /** The receipts of order and payment settle a sale together. */
  onModuleInit(): void {
    this.stopListening = onMeasured('settled', ({ scheme, ms }) => {
      if (scheme === 'half-message') this.pace.settled(ms, 1 / flashSold.consumers.length);
    });
  }

  onModuleDestroy(): void {
    this.stopListening();
  }

  /**
   * Sells stock. Returns a PENDING purchase, since order and payment follow. A repeated call with the same key returns the
   * first answer.
   * @throws PurchaseRefused if the stock does not suffice
   * @throws IdempotencyKeyReused, IdempotencyKeyBusy
   * @throws BrokerUnavailable, Unconfirmed or RuledBack. Nothing happened.
   */
  async sell(body: PurchaseBody, key: string | undefined): Promise<Purchase> {
    // A repeated call needs neither the broker nor a prepared message.
    const known = key === undefined ? null : await this.keys.find({ route: ROUTE, key, body });
    if (known) return this.answerOf(known);
    await this.pace.turn();
    const orderId = this.database.newId();
    try {
      return await this.sellNow({ key, body, orderId });
    } catch (error) {
      this.pace.settled(undefined);
      if (error instanceof KnownBefore) return this.answerOf(error.known);
      if (!(error instanceof Rejected)) throw error;
      return this.refuse({ key, body, orderId }, error.reason);
    }
  }

  private async sellNow(call: Call): Promise<Purchase> {
    const { body, orderId } = call;
    // The id contains its time, by the clock of this database.
    const createdAt = new Date(idTimeMs(orderId)!).toISOString();
    const sale = { ...body, orderId, scheme: 'half-message' as const, amount: amountOf(body), createdAt };
    await this.halfMessages.send(flashSold, sale, async (tx) => {
      await this.claimKey(tx, call);
      await takeStock(tx, sale);
    });
    return acceptedView(sale);
  }

  /**
   * Stores the refusal in a separate commit, since the rollback of the sale has also removed the key. Of two calls with one
   * key the first commit holds, so this call may still return a sale.
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

  /** The answer for a used key. The key and its half message were written by the same commit. */
  private async answerOf({ gid: orderId, outcome }: Known): Promise<Purchase> {
    const refused = (outcome as { refused?: string } | null)?.refused;
    if (refused) throw new PurchaseRefused(orderId, refused);
    const sale = await this.halfMessages.committed(flashSold, orderId);
    if (!sale)
      throw new Error(
        `cannot replay ${ROUTE}: flash sale ${orderId} is missing in dtx_half, but its Idempotency-Key is in dtx_idempotency; ` +
          `one commit writes both, so a row was deleted: see npm run trace -- ${orderId}`,
      );
    return acceptedView(sale);
  }
}

function acceptedView(sale: FlashSold): Purchase {
  return acceptedViewOf({ ...sale, createdAt: new Date(sale.createdAt!) });
}
