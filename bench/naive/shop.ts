// The business of the three services: one statement each, and one local transaction for the money. Seven statements for
// a purchase. A crash between two of them leaves half a purchase, which is the point of the comparison.
import { randomUUID } from 'node:crypto';
import type { Pool, ResultSetHeader } from 'mysql2/promise';
import type { Call } from './rpc.js';

export const TABLES: Record<string, readonly string[]> = {
  order: [
    `CREATE TABLE IF NOT EXISTS orders (
      order_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, buyer_id VARCHAR(64) NOT NULL,
      sku VARCHAR(64) NOT NULL, quantity INT NOT NULL, amount BIGINT NOT NULL, status VARCHAR(20) NOT NULL,
      created_at DATETIME(3) NOT NULL, updated_at DATETIME(3) NOT NULL, KEY newest (created_at, order_id)
    ) ENGINE=InnoDB`,
  ],
  payment: [
    `CREATE TABLE IF NOT EXISTS account (
      buyer_id VARCHAR(64) NOT NULL PRIMARY KEY, balance BIGINT NOT NULL, captured BIGINT NOT NULL DEFAULT 0
    ) ENGINE=InnoDB`,
    `CREATE TABLE IF NOT EXISTS payment (
      order_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, buyer_id VARCHAR(64) NOT NULL,
      amount BIGINT NOT NULL, created_at DATETIME(3) NOT NULL
    ) ENGINE=InnoDB`,
  ],
  inventory: [
    `CREATE TABLE IF NOT EXISTS stock (
      sku VARCHAR(64) NOT NULL PRIMARY KEY, available BIGINT NOT NULL, sold BIGINT NOT NULL DEFAULT 0
    ) ENGINE=InnoDB`,
  ],
};

export interface Purchase {
  readonly orderId: string;
  readonly buyerId: string;
  readonly sku: string;
  readonly quantity: number;
  readonly amount: number;
}
export type Wanted = Pick<Purchase, 'buyerId' | 'sku' | 'quantity'>;

/** The schema of a purchase's body. */
export const WANTED = {
  type: 'object',
  required: ['buyerId', 'sku', 'quantity'],
  properties: {
    buyerId: { type: 'string', minLength: 1, maxLength: 64 },
    sku: { type: 'string', minLength: 1, maxLength: 64 },
    quantity: { type: 'integer', minimum: 1, maximum: 1_000 },
  },
} as const;

/** Every sku of the comparison costs the same. */
export const PRICE = 100;

export async function takeStock(pool: Pool, { sku, quantity }: Purchase): Promise<boolean> {
  const [taken] = await pool.execute<ResultSetHeader>(
    'UPDATE stock SET available = available - ?, sold = sold + ? WHERE sku = ? AND available >= ?',
    [quantity, quantity, sku, quantity],
  );
  return taken.affectedRows === 1;
}

export async function takeMoney(pool: Pool, { orderId, buyerId, amount }: Purchase): Promise<boolean> {
  const connection = await pool.getConnection();
  try {
    await connection.beginTransaction();
    await connection.execute('INSERT INTO payment VALUES (?, ?, ?, UTC_TIMESTAMP(3))', [orderId, buyerId, amount]);
    const [taken] = await connection.execute<ResultSetHeader>(
      'UPDATE account SET balance = balance - ?, captured = captured + ? WHERE buyer_id = ? AND balance >= ?',
      [amount, amount, buyerId, amount],
    );
    if (taken.affectedRows === 1) await connection.commit();
    else await connection.rollback();
    return taken.affectedRows === 1;
  } catch (error) {
    await connection.rollback();
    throw error;
  } finally {
    connection.release();
  }
}

export async function buy(
  pool: Pool,
  call: Call,
  { buyerId, sku, quantity }: Wanted,
): Promise<Purchase & { status: string }> {
  const purchase = { orderId: randomUUID(), buyerId, sku, quantity, amount: quantity * PRICE };
  await pool.execute(
    "INSERT INTO orders VALUES (?, ?, ?, ?, ?, 'PENDING', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))",
    Object.values(purchase),
  );
  const isSold = (await call<boolean>('naive.inventory', purchase)) && (await call<boolean>('naive.payment', purchase));
  const status = isSold ? 'CONFIRMED' : 'CANCELLED';
  await pool.execute('UPDATE orders SET status = ?, updated_at = UTC_TIMESTAMP(3) WHERE order_id = ?', [
    status,
    purchase.orderId,
  ]);
  return { ...purchase, status };
}
