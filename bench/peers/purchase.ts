// The purchase that every peer makes, and the tables of the three apps. The columns are those of the naive shop.
export interface Purchase {
  readonly orderId: string;
  readonly buyerId: string;
  readonly sku: string;
  readonly quantity: number;
  readonly amount: number;
}
export type Wanted = Pick<Purchase, 'buyerId' | 'sku' | 'quantity'>;

export const APPS = ['order', 'payment', 'inventory'] as const;
export type App = (typeof APPS)[number];

/** As many connections as an app of the shop has. */
export const POOL_SIZE = 32;

/** Every sku of the comparison costs the same. */
const PRICE = 100;
export const purchaseOf = (orderId: string, { buyerId, sku, quantity }: Wanted): Purchase => ({
  orderId,
  buyerId,
  sku,
  quantity,
  amount: quantity * PRICE,
});

const ORDER_ID = 'order_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY';

export const TABLES: Record<App, readonly string[]> = {
  order: [
    `CREATE TABLE IF NOT EXISTS orders (
      ${ORDER_ID}, buyer_id VARCHAR(64) NOT NULL, sku VARCHAR(64) NOT NULL, quantity INT NOT NULL, amount BIGINT NOT NULL,
      status VARCHAR(20) NOT NULL, created_at DATETIME(3) NOT NULL, updated_at DATETIME(3) NOT NULL,
      KEY newest (created_at, order_id)
    ) ENGINE=InnoDB`,
  ],
  payment: [
    `CREATE TABLE IF NOT EXISTS account (
      buyer_id VARCHAR(64) NOT NULL PRIMARY KEY, balance BIGINT NOT NULL, captured BIGINT NOT NULL DEFAULT 0
    ) ENGINE=InnoDB`,
    `CREATE TABLE IF NOT EXISTS payment (
      ${ORDER_ID}, buyer_id VARCHAR(64) NOT NULL, amount BIGINT NOT NULL, created_at DATETIME(3) NOT NULL
    ) ENGINE=InnoDB`,
  ],
  inventory: [
    `CREATE TABLE IF NOT EXISTS stock (
      sku VARCHAR(64) NOT NULL PRIMARY KEY, available BIGINT NOT NULL, sold BIGINT NOT NULL DEFAULT 0
    ) ENGINE=InnoDB`,
    // The peers have no duplicate detection: a repeated step is found by this row.
    `CREATE TABLE IF NOT EXISTS stock_taken (
      ${ORDER_ID}, sku VARCHAR(64) NOT NULL, quantity INT NOT NULL
    ) ENGINE=InnoDB`,
  ],
};

/** The statements of the steps. Each is idempotent by the primary key or the state that it expects. */
export const SQL = {
  insertOrder: "INSERT IGNORE INTO orders VALUES (?, ?, ?, ?, ?, 'PENDING', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))",
  settleOrder: "UPDATE orders SET status = ?, updated_at = UTC_TIMESTAMP(3) WHERE order_id = ? AND status = 'PENDING'",
  recordStock: 'INSERT IGNORE INTO stock_taken VALUES (?, ?, ?)',
  takeStock: 'UPDATE stock SET available = available - ?, sold = sold + ? WHERE sku = ? AND available >= ?',
  forgetStock: 'DELETE FROM stock_taken WHERE order_id = ?',
  putBackStock: 'UPDATE stock SET available = available + ?, sold = sold - ? WHERE sku = ?',
  recordPayment: 'INSERT IGNORE INTO payment VALUES (?, ?, ?, UTC_TIMESTAMP(3))',
  takeMoney: 'UPDATE account SET balance = balance - ?, captured = captured + ? WHERE buyer_id = ? AND balance >= ?',
  forgetPayment: 'DELETE FROM payment WHERE order_id = ?',
  putBackMoney: 'UPDATE account SET balance = balance + ?, captured = captured - ? WHERE buyer_id = ?',
} as const;

/** A shop app as the bench starts it: `node main.js <app>` with its servers in the environment. */
export function started(): { app: App; database: string; broker: string; port: number } {
  const { DTX_DATABASE_URL: database = '', DTX_RABBITMQ_URL: broker = '', PORT: port = '0' } = process.env;
  const app = APPS.find((name) => name === process.argv[2]);
  if (!app) throw new Error(`unknown app "${process.argv[2] ?? ''}": use ${APPS.join(', ')}`);
  return { app, database, broker, port: Number(port) };
}
