// The local steps of the saga and their compensations. Restate repeats a step whose answer it has not stored, so each is idempotent.
import type { Pool, PoolConnection, ResultSetHeader } from 'mysql2/promise';
import { type Purchase, SQL } from '../purchase.js';

export const insertOrder = (pool: Pool, purchase: Purchase) => changed(pool, SQL.insertOrder, Object.values(purchase));

export const settleOrder = (pool: Pool, { orderId }: Purchase, status: string) =>
  changed(pool, SQL.settleOrder, [status, orderId]);

/** False if there is too little stock. */
export function takeStock(pool: Pool, { orderId, sku, quantity }: Purchase): Promise<boolean> {
  return inTransaction(pool, async (tx) => {
    if (!(await changed(tx, SQL.recordStock, [orderId, sku, quantity]))) return true; // taken before
    return changed(tx, SQL.takeStock, [quantity, quantity, sku, quantity]);
  });
}

export function putBackStock(pool: Pool, { orderId, sku, quantity }: Purchase): Promise<boolean> {
  return inTransaction(pool, async (tx) => {
    if (await changed(tx, SQL.forgetStock, [orderId])) await changed(tx, SQL.putBackStock, [quantity, quantity, sku]);
    return true;
  });
}

/** False if there is too little money. */
export function takeMoney(pool: Pool, { orderId, buyerId, amount }: Purchase): Promise<boolean> {
  return inTransaction(pool, async (tx) => {
    if (!(await changed(tx, SQL.recordPayment, [orderId, buyerId, amount]))) return true; // taken before
    return changed(tx, SQL.takeMoney, [amount, amount, buyerId, amount]);
  });
}

export function putBackMoney(pool: Pool, { orderId, buyerId, amount }: Purchase): Promise<boolean> {
  return inTransaction(pool, async (tx) => {
    if (await changed(tx, SQL.forgetPayment, [orderId])) await changed(tx, SQL.putBackMoney, [amount, amount, buyerId]);
    return true;
  });
}

/** A step that says false is rolled back. */
async function inTransaction(pool: Pool, work: (tx: PoolConnection) => Promise<boolean>): Promise<boolean> {
  const tx = await pool.getConnection();
  try {
    await tx.beginTransaction();
    const isDone = await work(tx);
    await (isDone ? tx.commit() : tx.rollback());
    return isDone;
  } catch (error) {
    await tx.rollback();
    throw error;
  } finally {
    tx.release();
  }
}

async function changed(on: Pool | PoolConnection, sql: string, values: Array<string | number>): Promise<boolean> {
  const [{ affectedRows }] = await on.execute<ResultSetHeader>(sql, values);
  return affectedRows === 1;
}
