/** The rules of orders. An order moves once, from PENDING to CONFIRMED or CANCELLED, and never again. */
import { isDuplicateKey } from 'nest-dtx';
import type { EntityManager } from 'typeorm';
import { type Changed, databaseNow } from '../columns.js';
import type { PurchaseOnTheWay } from '../messages.js';
import type { OrderStatus, Reason } from '../purchase.js';
import { Order } from './order.entity.js';

/** An order as it is asked for; its time comes from the database. */
export type NewOrder = Omit<PurchaseOnTheWay, 'createdAt'>;

/** Writes a PENDING order and gives back its time of creation, by the database's clock. */
export async function insertOrder(tx: EntityManager, order: NewOrder): Promise<Date> {
  const createdAt = await databaseNow(tx);
  await insertRow(tx, order, { status: 'PENDING', reason: null, createdAt, updatedAt: createdAt });
  return createdAt;
}

/** Writes an order that is CONFIRMED from the start, and gives back its time, by the database's clock. */
export async function insertConfirmedOrder(tx: EntityManager, order: NewOrder): Promise<Date> {
  const createdAt = await databaseNow(tx);
  await insertRow(tx, order, { status: 'CONFIRMED', reason: null, createdAt, updatedAt: createdAt });
  return createdAt;
}

/** Writes a PENDING order that was begun elsewhere, and has its time of creation from there. */
export async function insertOrderBegun(tx: EntityManager, order: PurchaseOnTheWay): Promise<void> {
  const createdAt = order.createdAt === undefined ? await databaseNow(tx) : new Date(order.createdAt);
  await insertRow(tx, order, { status: 'PENDING', reason: null, createdAt, updatedAt: createdAt });
}

/** The same, unless the order is there already: its result may have come first, and has made it then. */
export async function insertOrderUnlessSettled(tx: EntityManager, order: PurchaseOnTheWay): Promise<void> {
  try {
    await insertOrderBegun(tx, order);
  } catch (error) {
    if (!isDuplicateKey(error)) throw error;
  }
}

/**
 * PENDING to CONFIRMED, `at` the time at which that was decided, or now. Repeated, it changes nothing. Throws when the
 * order is CANCELLED: a person must look.
 */
export async function confirmOrder(tx: EntityManager, purchase: PurchaseOnTheWay, at?: Date): Promise<void> {
  await settleOrder(tx, purchase, { status: 'CONFIRMED', reason: null, at });
}

/**
 * PENDING to CANCELLED, `at` the time at which that was decided, or now. Repeated, it changes nothing. Throws when the
 * order is CONFIRMED: a person must look.
 */
export async function cancelOrder(
  tx: EntityManager,
  purchase: PurchaseOnTheWay,
  reason: Reason,
  at?: Date,
): Promise<void> {
  await settleOrder(tx, purchase, { status: 'CANCELLED', reason, at });
}

/** The order, or null. Takes the bare manager too: it only reads. */
export async function findOrder(manager: EntityManager, orderId: string): Promise<Order | null> {
  return manager.getRepository(Order).findOneBy({ orderId });
}

interface Outcome {
  status: Exclude<OrderStatus, 'PENDING'>;
  reason: Reason | null;
  at: Date | undefined;
}

async function settleOrder(tx: EntityManager, purchase: PurchaseOnTheWay, outcome: Outcome): Promise<void> {
  const { orderId } = purchase;
  const moved: Changed = await tx.query(
    `UPDATE orders SET status = ?, reason = ?, updated_at = GREATEST(created_at, COALESCE(?, UTC_TIMESTAMP(3)))
     WHERE order_id = ? AND status = 'PENDING'`,
    [outcome.status, outcome.reason, outcome.at ?? null, orderId],
  );
  if (moved.affectedRows === 1) return;

  const rows: { status: OrderStatus }[] = await tx.query('SELECT status FROM orders WHERE order_id = ? FOR UPDATE', [
    orderId,
  ]);
  const found = rows[0]?.status;
  if (found === undefined && (await insertSettledOrder(tx, purchase, outcome))) return;
  // The order itself came between two of these statements: it is there now.
  if (found === undefined || found === 'PENDING') return settleOrder(tx, purchase, outcome);
  if (found !== outcome.status) throw new Error(`order ${orderId} is ${found} and cannot become ${outcome.status}`);
}

/**
 * The result came before the order itself: the result carries the whole purchase, so the order is born settled. False
 * when the order has come meanwhile.
 */
async function insertSettledOrder(tx: EntityManager, purchase: PurchaseOnTheWay, outcome: Outcome): Promise<boolean> {
  const settledAt = outcome.at ?? (await databaseNow(tx));
  const createdAt = purchase.createdAt === undefined ? settledAt : new Date(purchase.createdAt);
  const updatedAt = new Date(Math.max(createdAt.getTime(), settledAt.getTime()));
  try {
    await insertRow(tx, purchase, { ...outcome, createdAt, updatedAt });
    return true;
  } catch (error) {
    if (isDuplicateKey(error)) return false;
    throw error;
  }
}

type RowState = Pick<Order, 'status' | 'reason' | 'createdAt' | 'updatedAt'>;

async function insertRow(tx: EntityManager, order: NewOrder, state: RowState): Promise<void> {
  const { orderId, scheme, buyerId, sku, quantity, amount, notifyUrl = null } = order;
  const { status, reason, createdAt, updatedAt } = state;
  await tx.query(
    `INSERT INTO orders
       (order_id, scheme, buyer_id, sku, quantity, amount, status, reason, notify_url, created_at, updated_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    [orderId, scheme, buyerId, sku, quantity, amount, status, reason, notifyUrl, createdAt, updatedAt],
  );
}
