/**
 * Step 1 of 2 - restock: goods come in, and the catalog hears of it by a reliable message as any broker can do it: the
 * message is published inside the transaction, with confirm, before its COMMIT. Without a confirm all is rolled back.
 */
import { restock, type Stock, stockRestocked } from '@nest-dtx/shop';
import { Injectable } from '@nestjs/common';
import { ConfirmedMessages, Database, IdempotencyKeys, inTransaction } from 'nest-dtx';
import { DataSource, EntityManager } from 'typeorm';
import { FewAtOnce } from './few-at-once.js';

const ROUTE = 'POST /restocks';
/** A restock holds a connection until the broker confirms. A broker that does not must leave most of the pool to others. */
const AT_ONCE = 8;
const TURN_WAIT_MS = 1_000;

export interface RestockBody {
  sku: string;
  quantity: number;
}

export type StockLevel = Pick<Stock, 'sku' | 'available' | 'reserved' | 'sold'>;

@Injectable()
export class RestockByReliableMessage {
  private readonly few = new FewAtOnce(AT_ONCE, TURN_WAIT_MS);

  constructor(
    private readonly db: DataSource,
    private readonly database: Database,
    private readonly keys: IdempotencyKeys,
    private readonly messages: ConfirmedMessages,
  ) {}

  /**
   * Adds to the stock, and answers what there is then. With a key that was used before it answers as it did then.
   * @throws IdempotencyKeyReused, IdempotencyKeyBusy; Rejected SHELF_FULL
   * @throws Unavailable when too many restocks wait for the broker: nothing has happened
   * @throws BrokerUnavailable when the message is not confirmed: nothing has happened
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

  /** The hole: should the COMMIT after this fail, the catalog has heard of goods that never came, until the next change. */
  private async add(tx: EntityManager, body: RestockBody): Promise<StockLevel> {
    const { sku, available, reserved, sold, version } = await restock(tx, body);
    await this.messages.publish(tx, stockRestocked, { sku, available, version });
    return { sku, available, reserved, sold };
  }
}
