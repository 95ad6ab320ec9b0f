/**
 * The rules of stock. Nothing is oversold: what is available never falls below zero. Pieces are sold in one step
 * (`takeStock`), or set aside first and then sold or put back (`reserveStock`, `sellReserved`, `releaseReserved`).
 */
import { Rejected } from 'nest-dtx';
import type { EntityManager } from 'typeorm';
import type { Changed } from '../columns.js';
import type { PurchaseOnTheWay } from '../messages.js';
import { AVAILABLE_MAX } from '../purchase.js';
import { Stock } from './stock.entity.js';

/** What, and how many pieces. */
type Pieces = Pick<PurchaseOnTheWay, 'sku' | 'quantity'>;

/** TAKEN from the shelf, RETURNED to it, or REFUSED because there was not enough. */
export type TakeState = 'TAKEN' | 'RETURNED' | 'REFUSED';

/**
 * Sets how many pieces of a sku are on the shelf. What was sold or is reserved stays so: the opening stock is what
 * there must have been for all of it.
 */
export async function setAvailable(tx: EntityManager, sku: string, available: number): Promise<Stock> {
  await tx.query(
    `INSERT INTO stock (sku, available, reserved, sold, opening, version) VALUES (?, ?, 0, 0, ?, 1)
     ON DUPLICATE KEY UPDATE
       available = VALUES(available), opening = VALUES(available) + reserved + sold, version = version + 1`,
    [sku, available, available],
  );
  return tx.getRepository(Stock).findOneByOrFail({ sku });
}

/**
 * Adds pieces that came in to what is on the shelf, and to the opening stock.
 * @throws Rejected SHELF_FULL: the caller's transaction must roll back.
 */
export async function restock(tx: EntityManager, { sku, quantity }: Pieces): Promise<Stock> {
  await tx.query(
    `INSERT INTO stock (sku, available, reserved, sold, opening, version) VALUES (?, ?, 0, 0, ?, 1)
     ON DUPLICATE KEY UPDATE available = available + VALUES(available), opening = opening + VALUES(opening), version = version + 1`,
    [sku, quantity, quantity],
  );
  const stock = await tx.getRepository(Stock).findOneByOrFail({ sku });
  if (stock.available > AVAILABLE_MAX) throw new Rejected('SHELF_FULL', `no shelf holds more than ${AVAILABLE_MAX}`);
  return stock;
}

/**
 * Sells the pieces of a purchase.
 * @throws Rejected OUT_OF_STOCK: the caller's transaction must roll back.
 */
export async function takeStock(tx: EntityManager, purchase: PurchaseOnTheWay): Promise<void> {
  const { orderId, sku, quantity } = purchase;
  await recordTake(tx, orderId, purchase);
  // The shelf last: every other purchase of this sku waits for its row until the commit.
  const taken: Changed = await tx.query(
    `UPDATE stock SET available = available - ?, sold = sold + ?, version = version + 1
     WHERE sku = ? AND available >= ?`,
    [quantity, quantity, sku, quantity],
  );
  if (taken.affectedRows !== 1) throw new Rejected('OUT_OF_STOCK');
}

/**
 * Sets pieces aside for a purchase: no longer available, not yet sold.
 * @throws Rejected OUT_OF_STOCK: the caller's transaction must roll back.
 */
export async function reserveStock(tx: EntityManager, { sku, quantity }: Pieces): Promise<void> {
  const reserved: Changed = await tx.query(
    `UPDATE stock SET available = available - ?, reserved = reserved + ?, version = version + 1
     WHERE sku = ? AND available >= ?`,
    [quantity, quantity, sku, quantity],
  );
  if (reserved.affectedRows !== 1) throw new Rejected('OUT_OF_STOCK');
}

/** Sells pieces that were reserved. Throws when they are not there: a person must look. */
export async function sellReserved(tx: EntityManager, orderId: string, { sku, quantity }: Pieces): Promise<void> {
  await recordTake(tx, orderId, { sku, quantity });
  const sold: Changed = await tx.query(
    'UPDATE stock SET reserved = reserved - ?, sold = sold + ?, version = version + 1 WHERE sku = ? AND reserved >= ?',
    [quantity, quantity, sku, quantity],
  );
  if (sold.affectedRows !== 1)
    throw new Error(`${quantity} x ${sku} should be reserved for order ${orderId}, and are not`);
}

/** Puts reserved pieces back on the shelf. Throws when they are not there: a person must look. */
export async function releaseReserved(tx: EntityManager, orderId: string, { sku, quantity }: Pieces): Promise<void> {
  const released: Changed = await tx.query(
    `UPDATE stock SET reserved = reserved - ?, available = available + ?, version = version + 1
     WHERE sku = ? AND reserved >= ?`,
    [quantity, quantity, sku, quantity],
  );
  if (released.affectedRows !== 1)
    throw new Error(`${quantity} x ${sku} should be reserved for order ${orderId}, and are not`);
}

/** Records that an order got no stock. Fails on an order that has a record: refused after taken would lose the pieces. */
export async function refuseStock(tx: EntityManager, purchase: PurchaseOnTheWay): Promise<void> {
  const { orderId, sku, quantity } = purchase;
  await tx.query(`INSERT INTO stock_take (order_id, sku, quantity, state, times) VALUES (?, ?, ?, 'REFUSED', 0)`, [
    orderId,
    sku,
    quantity,
  ]);
}

/** Puts the pieces of an order back on the shelf. Repeated, it changes nothing. Throws when none were taken for it. */
export async function putBack(tx: EntityManager, purchase: PurchaseOnTheWay): Promise<void> {
  const { orderId, sku, quantity } = purchase;
  const returned: Changed = await tx.query(
    `UPDATE stock_take SET state = 'RETURNED' WHERE order_id = ? AND state = 'TAKEN'`,
    [orderId],
  );
  if (returned.affectedRows === 1) {
    await tx.query('UPDATE stock SET available = available + ?, sold = sold - ?, version = version + 1 WHERE sku = ?', [
      quantity,
      quantity,
      sku,
    ]);
    return;
  }
  const rows: { state: TakeState }[] = await tx.query('SELECT state FROM stock_take WHERE order_id = ?', [orderId]);
  if (rows[0]?.state !== 'RETURNED') {
    throw new Error(`no stock was taken for order ${orderId} (${rows[0]?.state ?? 'no record'}): nothing to put back`);
  }
}

/** Counted, not refused: that an order's stock moves once is the library's promise, and this is how an audit checks it. */
async function recordTake(tx: EntityManager, orderId: string, { sku, quantity }: Pieces): Promise<void> {
  await tx.query(
    `INSERT INTO stock_take (order_id, sku, quantity, state, times) VALUES (?, ?, ?, 'TAKEN', 1)
     ON DUPLICATE KEY UPDATE times = times + 1`,
    [orderId, sku, quantity],
  );
}

/** The stock of a sku, or null when it was never set. Takes the bare manager too: it only reads. */
export async function findStock(manager: EntityManager, sku: string): Promise<Stock | null> {
  return manager.getRepository(Stock).findOneBy({ sku });
}
