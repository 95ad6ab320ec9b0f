/**
 * Step 1 of 2 - restock: adds stock and publishes the new stock to the catalog. The publish is inside the transaction, with
 * a publisher confirm before the COMMIT. Without a confirm the transaction is rolled back.
 */
import { restock, type Stock, stockRestocked } from '@nest-dtx/shop';
import { Injectable } from '@nestjs/common';
import { ConfirmedMessages, DtxDatabase, IdempotencyKeys, inTransaction } from 'nest-dtx';
import { DataSource, EntityManager } from 'typeorm';
import { FewAtOnce } from './timed-semaphore.js';

const ROUTE = 'POST /restocks';
/** Most restocks at once. Each holds a connection until the broker confirms, and a silent broker must not exhaust the pool. */
const AT_ONCE = 8;
const TURN_WAIT_MS = 1_000;

export interface RestockBody {
  sku: string;
  quantity: number;
}

export type StockLevel = Pick<Stock, 'sku' | 'available' | 'reserved' | 'sold'>;

@Injectable()
export class RestockByReliableMessage {
  private readonly few = new FewAtOnce('restock', AT_ONCE, TURN_WAIT_MS);

  constructor(
    private readonly db: DataSource,
    private readonly database: DtxDatabase,
    private readonly keys: IdempotencyKeys,
    private readonly messages: ConfirmedMessages,
  ) {}

  /**
   * Adds to the stock and returns the new stock. A repeated call with the same key returns the first answer.
   * @throws IdempotencyKeyReused, IdempotencyKeyBusy
   * @throws Rejected SHELF_FULL
   * @throws Unavailable if too many restocks wait for the broker. Nothing happened.
   * @throws BrokerUnavailable or Unconfirmed without a publisher confirm. The restock is rolled back.
   */
  async restock(body: RestockBody, key: string | undefined): Promise<StockLevel> {
    return this.few.run(() => this.restockOnce(body, key));
  }

  private restockOnce(body: RestockBody, key: string | undefined): Promise<StockLevel> {
    return inTransaction(this.db, async (tx) => {
      if (key === undefined) return this.add(tx, body);
      const owner = await this.keys.claim(tx, { route: ROUTE, key, body, gid: this.database.newId() });
      if (!owner.first) return owner.outcome as StockLevel;
      const level = await this.add(tx, body);
      await this.keys.settle(tx, { route: ROUTE, key, outcome: level });
      return level;
    });
  }

  /** If the COMMIT fails after the publish, the catalog shows wrong stock until the next change. */
  private async add(tx: EntityManager, body: RestockBody): Promise<StockLevel> {
    const { sku, available, reserved, sold, version } = await restock(tx, body);
    await this.messages.publish(tx, stockRestocked, { sku, available, version });
    return { sku, available, reserved, sold };
  }
}
