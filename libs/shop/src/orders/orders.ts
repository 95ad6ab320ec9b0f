/** Rules of orders. An order moves only once, from PENDING to CONFIRMED or CANCELLED. */
import { changesOneRow, deferStatement, idTimeMs, isDuplicateKey } from 'nest-dtx';
import type { EntityManager } from 'typeorm';
import { databaseNow } from '../database-clock.js';
import type { PurchaseOnTheWay } from '../message-contracts.js';
import type { OrderStatus, Reason } from '../purchase-schemas.js';
import { Order } from './order.entity.js';

/** A new order without its time, which the database sets. */
export type NewOrder = Omit<PurchaseOnTheWay, 'createdAt'>;

/** The creation time of an order. Its id carries it, by the database clock of the app that took the order. */
function createdAtOf({ orderId }: NewOrder): Date {
  return new Date(idTimeMs(orderId)!);
}

/** Inserts a PENDING order. Returns its creation time. */
export async function insertOrder(tx: EntityManager, order: NewOrder): Promise<Date> {
  const createdAt = createdAtOf(order);
  const { statement, values } = insertOf(order, { status: 'PENDING', reason: null, createdAt, updatedAt: createdAt });
  await deferStatement(tx, statement, values);
  return createdAt;
}

/** Inserts an order that is CONFIRMED from the start. Returns its creation time. */
export async function insertConfirmedOrder(tx: EntityManager, order: NewOrder): Promise<Date> {
  const createdAt = createdAtOf(order);
  const { statement, values } = insertOf(order, { status: 'CONFIRMED', reason: null, createdAt, updatedAt: createdAt });
  await deferStatement(tx, statement, values);
  return createdAt;
}

/** Inserts a PENDING order that another app has started, with the creation time from there. */
export async function insertOrderBegun(tx: EntityManager, order: PurchaseOnTheWay): Promise<void> {
  const { statement, values } = insertOf(order, await begunState(tx, order));
  await deferStatement(tx, statement, values);
}

/**
 * As `insertOrderBegun`, unless the order exists. A result that arrived first has inserted it. Returns false then, since the
 * order is settled.
 */
export async function insertOrderUnlessSettled(tx: EntityManager, order: PurchaseOnTheWay): Promise<boolean> {
  return insertUnlessThere(tx, order, await begunState(tx, order));
}

async function begunState(tx: EntityManager, { createdAt: at }: PurchaseOnTheWay): Promise<RowState> {
  const createdAt = at === undefined ? await databaseNow(tx) : new Date(at);
  return { status: 'PENDING', reason: null, createdAt, updatedAt: createdAt };
}

/**
 * Moves an order from PENDING to CONFIRMED. Idempotent. `at` is the time of the decision, by default now.
 * @throws Error if the order is CANCELLED, which needs an operator
 */
export async function confirmOrder(tx: EntityManager, purchase: PurchaseOnTheWay, at?: Date): Promise<void> {
  await settleOrder(tx, purchase, { status: 'CONFIRMED', reason: null, at });
}

/**
 * Moves an order from PENDING to CANCELLED. Idempotent. `at` is the time of the decision, by default now.
 * @throws Error if the order is CONFIRMED, which needs an operator
 */
export async function cancelOrder(
  tx: EntityManager,
  purchase: PurchaseOnTheWay,
  reason: Reason,
  at?: Date,
): Promise<void> {
  await settleOrder(tx, purchase, { status: 'CANCELLED', reason, at });
}

/** The order, or null. It only reads, so it needs no transaction. */
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
  const isMoved = await changesOneRow(
    tx,
    `UPDATE orders SET status = ?, reason = ?, updated_at = GREATEST(created_at, COALESCE(?, UTC_TIMESTAMP(3)))
     WHERE order_id = ? AND status = 'PENDING'`,
    [outcome.status, outcome.reason, outcome.at ?? null, orderId],
  );
  if (isMoved) return;

  const rows: { status: OrderStatus }[] = await tx.query('SELECT status FROM orders WHERE order_id = ? FOR UPDATE', [
    orderId,
  ]);
  const found = rows[0]?.status;
  if (found === undefined && (await insertSettledOrder(tx, purchase, outcome))) return;
  // Another transaction inserted the order between two of these statements.
  if (found === undefined || found === 'PENDING') return settleOrder(tx, purchase, outcome);
  if (found !== outcome.status)
    throw new Error(`cannot move order ${orderId} to ${outcome.status}: it is already ${found}; check its history`);
}

/**
 * Inserts a settled order for a result that arrived before the order itself. The result carries the whole purchase.
 * Returns false if the order was inserted meanwhile.
 */
async function insertSettledOrder(tx: EntityManager, purchase: PurchaseOnTheWay, outcome: Outcome): Promise<boolean> {
  const settledAt = outcome.at ?? (await databaseNow(tx));
  const createdAt = purchase.createdAt === undefined ? settledAt : new Date(purchase.createdAt);
  const updatedAt = new Date(Math.max(createdAt.getTime(), settledAt.getTime()));
  return insertUnlessThere(tx, purchase, { ...outcome, createdAt, updatedAt });
}

async function insertUnlessThere(tx: EntityManager, purchase: PurchaseOnTheWay, state: RowState): Promise<boolean> {
  try {
    await insertRow(tx, purchase, state);
    return true;
  } catch (error) {
    if (isDuplicateKey(error)) return false;
    throw error;
  }
}

type RowState = Pick<Order, 'status' | 'reason' | 'createdAt' | 'updatedAt'>;

async function insertRow(tx: EntityManager, order: NewOrder, state: RowState): Promise<void> {
  const { statement, values } = insertOf(order, state);
  await tx.query(statement, values);
}

function insertOf(order: NewOrder, state: RowState): { statement: string; values: unknown[] } {
  const { orderId, scheme, buyerId, sku, quantity, amount, notifyUrl = null } = order;
  const { status, reason, createdAt, updatedAt } = state;
  return {
    statement: `INSERT INTO orders
       (order_id, scheme, buyer_id, sku, quantity, amount, status, reason, notify_url, created_at, updated_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    values: [orderId, scheme, buyerId, sku, quantity, amount, status, reason, notifyUrl, createdAt, updatedAt],
  };
}
