/**
 * Rules of stock. The available stock never falls below zero, so nothing is oversold. Pieces are sold in one step
 * (`takeStock`), or first reserved and then sold or released (`reserveStock`, `sellReserved`, `releaseReserved`).
 */
import { changesOneRow, deferStatement, insertFirst, Rejected } from 'nest-dtx';
import type { EntityManager } from 'typeorm';
import type { PurchaseOnTheWay } from '../message-contracts.js';
import { AVAILABLE_MAX } from '../purchase-schemas.js';
import { Stock } from './stock.entity.js';

/** Sku and number of pieces. */
type Pieces = Pick<PurchaseOnTheWay, 'sku' | 'quantity'>;

/** TAKEN, RETURNED afterwards, or REFUSED since the stock did not suffice. */
export type TakeState = 'TAKEN' | 'RETURNED' | 'REFUSED';

/**
 * Sets the available pieces of a sku. Sold and reserved pieces stay as they are, and `opening` is set to the sum of all
 * three.
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
 * Adds pieces to the available and to the opening stock.
 * @throws Rejected SHELF_FULL. The caller's transaction must roll back.
 */
export async function restock(tx: EntityManager, { sku, quantity }: Pieces): Promise<Stock> {
  await tx.query(
    `INSERT INTO stock (sku, available, reserved, sold, opening, version) VALUES (?, ?, 0, 0, ?, 1)
     ON DUPLICATE KEY UPDATE available = available + VALUES(available), opening = opening + VALUES(opening), version = version + 1`,
    [sku, quantity, quantity],
  );
  const stock = await tx.getRepository(Stock).findOneByOrFail({ sku });
  if (stock.available > AVAILABLE_MAX)
    throw new Rejected('SHELF_FULL', `cannot restock ${sku}: more than ${AVAILABLE_MAX} would be available`);
  return stock;
}

/**
 * Sells the pieces of a purchase.
 * @throws Rejected OUT_OF_STOCK, also for an order that has expired. The caller's transaction must roll back.
 */
export async function takeStock(tx: EntityManager, purchase: PurchaseOnTheWay): Promise<void> {
  const { orderId, sku, quantity } = purchase;
  await recordTake(tx, orderId, purchase);
  // The stock row is last, since other purchases of this sku wait for its lock until the commit.
  const isTaken = await changesOneRow(
    tx,
    `UPDATE stock SET available = available - ?, sold = sold + ?, version = version + 1
     WHERE sku = ? AND available >= ? AND (SELECT state FROM stock_take WHERE order_id = ?) <> 'REFUSED'`,
    [quantity, quantity, sku, quantity, orderId],
  );
  if (!isTaken) throw new Rejected('OUT_OF_STOCK');
}

/**
 * Reserves pieces for a purchase. They are no longer available and not sold yet.
 * @throws Rejected OUT_OF_STOCK. The caller's transaction must roll back.
 */
export async function reserveStock(tx: EntityManager, { sku, quantity }: Pieces): Promise<void> {
  const isReserved = await changesOneRow(
    tx,
    `UPDATE stock SET available = available - ?, reserved = reserved + ?, version = version + 1
     WHERE sku = ? AND available >= ?`,
    [quantity, quantity, sku, quantity],
  );
  if (!isReserved) throw new Rejected('OUT_OF_STOCK');
}

/** Sells reserved pieces. @throws Error if they are not reserved, which needs an operator */
export async function sellReserved(tx: EntityManager, orderId: string, { sku, quantity }: Pieces): Promise<void> {
  await recordTake(tx, orderId, { sku, quantity });
  const isSold = await changesOneRow(
    tx,
    'UPDATE stock SET reserved = reserved - ?, sold = sold + ?, version = version + 1 WHERE sku = ? AND reserved >= ?',
    [quantity, quantity, sku, quantity],
  );
  if (!isSold) throw new Error(`cannot sell ${quantity} x ${sku} for order ${orderId}: less is reserved`);
}

/** Releases reserved pieces. @throws Error if they are not reserved, which needs an operator */
export async function releaseReserved(tx: EntityManager, orderId: string, { sku, quantity }: Pieces): Promise<void> {
  const isReleased = await changesOneRow(
    tx,
    `UPDATE stock SET reserved = reserved - ?, available = available + ?, version = version + 1
     WHERE sku = ? AND reserved >= ?`,
    [quantity, quantity, sku, quantity],
  );
  if (!isReleased) throw new Error(`cannot release ${quantity} x ${sku} for order ${orderId}: less is reserved`);
}

/**
 * Records that an order gets no stock, so that a later take is refused. Returns false if that is recorded already.
 * @throws Error if the order has taken stock, since REFUSED after TAKEN would lose the pieces
 */
export async function refuseStock(tx: EntityManager, purchase: PurchaseOnTheWay): Promise<boolean> {
  const { orderId, sku, quantity } = purchase;
  const row = { order_id: orderId, sku, quantity, state: 'REFUSED', times: 0 };
  if (await insertFirst(tx, 'stock_take', row)) return true;
  const state = await stateOfTake(tx, orderId);
  if (state === 'REFUSED') return false;
  throw new Error(`cannot refuse stock of order ${orderId}: state in stock_take is ${state}; ${BY_HAND}`);
}

/** As `putBack`, and refuses a take that comes later. For an order that expired before its stock was taken. */
export async function putBackOrRefuse(tx: EntityManager, purchase: PurchaseOnTheWay): Promise<void> {
  const row = {
    order_id: purchase.orderId,
    sku: purchase.sku,
    quantity: purchase.quantity,
    state: 'REFUSED',
    times: 0,
  };
  if (await insertFirst(tx, 'stock_take', row)) return;
  if ((await stateOfTake(tx, purchase.orderId)) !== 'REFUSED') await putBack(tx, purchase);
}

const BY_HAND = 'look at it with npm run trace, correct the row, then retry';

/** A locking read, because the record of another transaction may be newer than the snapshot of this one. */
async function stateOfTake(tx: EntityManager, orderId: string): Promise<TakeState | undefined> {
  const rows: { state: TakeState }[] = await tx.query('SELECT state FROM stock_take WHERE order_id = ? FOR UPDATE', [
    orderId,
  ]);
  return rows[0]?.state;
}

/** Returns the pieces of an order to the available stock. Idempotent. @throws Error if the order took no pieces */
export async function putBack(tx: EntityManager, purchase: PurchaseOnTheWay): Promise<void> {
  const { orderId, sku, quantity } = purchase;
  const isReturned = await changesOneRow(
    tx,
    `UPDATE stock_take SET state = 'RETURNED' WHERE order_id = ? AND state = 'TAKEN'`,
    [orderId],
  );
  if (isReturned) {
    await tx.query('UPDATE stock SET available = available + ?, sold = sold - ?, version = version + 1 WHERE sku = ?', [
      quantity,
      quantity,
      sku,
    ]);
    return;
  }
  const rows: { state: TakeState }[] = await tx.query('SELECT state FROM stock_take WHERE order_id = ?', [orderId]);
  if (rows[0]?.state !== 'RETURNED') {
    throw new Error(
      `cannot put back stock of order ${orderId}: state in stock_take is ${rows[0]?.state ?? 'missing'}, expected TAKEN; ${BY_HAND}`,
    );
  }
}

/** Counts takes instead of refusing a second one, so that the audit can check the library's exactly-once effect. */
async function recordTake(tx: EntityManager, orderId: string, { sku, quantity }: Pieces): Promise<void> {
  await deferStatement(
    tx,
    `INSERT INTO stock_take (order_id, sku, quantity, state, times) VALUES (?, ?, ?, 'TAKEN', 1)
     ON DUPLICATE KEY UPDATE times = times + IF(state = 'REFUSED', 0, 1)`,
    [orderId, sku, quantity],
  );
}

/** The stock of a sku, or null if it was never set. It only reads, so it needs no transaction. */
export async function findStock(manager: EntityManager, sku: string): Promise<Stock | null> {
  return manager.getRepository(Stock).findOneBy({ sku });
}
