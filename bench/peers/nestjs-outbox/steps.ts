// The steps of a purchase, each a local transaction with its event: order placed, stock taken, money taken, order settled.
import { type OutboxEvent, TransactionalEventEmitter } from '@fullstackhouse/nestjs-outbox';
import type { DataSource, EntityManager } from 'typeorm';
import { type App, type Purchase, SQL } from '../purchase.js';

/** Which queues get an event. */
export const QUEUES = {
  'order.placed': ['inventory.order-placed'],
  'stock.taken': ['payment.stock-taken'],
  'money.taken': ['order.money-taken'],
  'purchase.refused': ['order.purchase-refused', 'inventory.purchase-refused'],
} as const satisfies Record<string, readonly string[]>;
export type EventName = keyof typeof QUEUES;

/** The library finds the options and the listeners of an event by its name. */
export class PurchaseEvent implements OutboxEvent {
  constructor(
    readonly name: EventName,
    readonly purchase: Purchase,
  ) {}
}

type Handle = (purchase: Purchase) => Promise<void>;

export class Steps {
  constructor(
    private readonly db: DataSource,
    private readonly emitter: TransactionalEventEmitter,
  ) {}

  /** The consumers of one app, by their queue. */
  of(app: App): Record<string, Handle> {
    return {
      order: {
        'order.money-taken': (purchase: Purchase) => this.settle(purchase, 'CONFIRMED'),
        'order.purchase-refused': (purchase: Purchase) => this.settle(purchase, 'CANCELLED'),
      },
      inventory: {
        'inventory.order-placed': (purchase: Purchase) => this.takeStock(purchase),
        'inventory.purchase-refused': (purchase: Purchase) => this.putBackStock(purchase),
      },
      payment: { 'payment.stock-taken': (purchase: Purchase) => this.takeMoney(purchase) },
    }[app];
  }

  place(purchase: Purchase): Promise<void> {
    return this.inTransaction(async (tx) => {
      await tx.query(SQL.insertOrder, Object.values(purchase));
      await this.emit(tx, 'order.placed', purchase);
    });
  }

  private async settle({ orderId }: Purchase, status: string): Promise<void> {
    await this.db.query(SQL.settleOrder, [status, orderId]);
  }

  private takeStock(purchase: Purchase): Promise<void> {
    const { orderId, sku, quantity } = purchase;
    return this.inTransaction(async (tx) => {
      if (!(await changed(tx, SQL.recordStock, [orderId, sku, quantity]))) return; // a duplicate
      const isTaken = await changed(tx, SQL.takeStock, [quantity, quantity, sku, quantity]);
      if (!isTaken) await tx.query(SQL.forgetStock, [orderId]);
      await this.emit(tx, isTaken ? 'stock.taken' : 'purchase.refused', purchase);
    });
  }

  private putBackStock({ orderId, sku, quantity }: Purchase): Promise<void> {
    return this.inTransaction(async (tx) => {
      if (await changed(tx, SQL.forgetStock, [orderId])) await tx.query(SQL.putBackStock, [quantity, quantity, sku]);
    });
  }

  private takeMoney(purchase: Purchase): Promise<void> {
    const { orderId, buyerId, amount } = purchase;
    return this.inTransaction(async (tx) => {
      if (!(await changed(tx, SQL.recordPayment, [orderId, buyerId, amount]))) return; // a duplicate
      const isTaken = await changed(tx, SQL.takeMoney, [amount, amount, buyerId, amount]);
      if (!isTaken) await tx.query(SQL.forgetPayment, [orderId]);
      await this.emit(tx, isTaken ? 'money.taken' : 'purchase.refused', purchase);
    });
  }

  /** The outbox row joins the transaction by a persister of its own. `emit` itself takes whole entities alone. */
  private emit(tx: EntityManager, name: EventName, purchase: Purchase): Promise<void> {
    const rows: object[] = [];
    return this.emitter.emit(new PurchaseEvent(name, purchase), [], {
      persist: async (row) => {
        rows.push(row);
      },
      remove: async () => {},
      flush: async () => {
        await tx.save(rows);
      },
    });
  }

  /** The poller locks ranges of the outbox, so a deadlock is ordinary. */
  private async inTransaction(work: (tx: EntityManager) => Promise<void>): Promise<void> {
    for (;;) {
      try {
        return await this.db.transaction(work);
      } catch (error) {
        if ((error as { code?: string }).code !== 'ER_LOCK_DEADLOCK') throw error;
      }
    }
  }
}

async function changed(tx: EntityManager, sql: string, values: readonly unknown[]): Promise<boolean> {
  const { affectedRows } = (await tx.query(sql, [...values])) as { affectedRows: number };
  return affectedRows === 1;
}
