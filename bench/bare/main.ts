// A purchase by messages with mysql2, amqplib and Fastify alone: the floor of `npm run bench -- bare`. It is not for use, since
// it recovers nothing. Usage: node main.js order|payment|inventory
import { randomUUID } from 'node:crypto';
import { fastify } from 'fastify';
import { createPool } from 'mysql2/promise';
import { PRICE, TABLES, WANTED, type Wanted } from '../naive/shop.js';
import { APPS, OutboxByHand } from './outbox-by-hand.js';

const POOL_SIZE = 32;
/** As many open purchases as `SettlementPace` of the demo apps allows before an answer waits. */
const OPEN_MAX = 40;

const app = APPS.find((one) => one === process.argv[2]);
if (!app) throw new Error(`unknown app "${process.argv[2]}": use order, payment or inventory`);
const { DTX_DATABASE_URL: database = '', DTX_RABBITMQ_URL: broker = '', PORT: port = '0' } = process.env;
const pool = createPool({
  uri: database,
  connectionLimit: POOL_SIZE,
  maxIdle: POOL_SIZE,
  timezone: 'Z',
  enableKeepAlive: true,
  multipleStatements: true,
});
for (const table of TABLES[app]!) await pool.query(table);
const outbox = await OutboxByHand.open(app, { pool, broker });
const http = fastify();

if (app === 'inventory')
  await outbox.consume({
    queue: 'bare.take-stock',
    from: 'order',
    next: 'bare.take-money',
    work: (connection, { sku, quantity }) =>
      connection.query('UPDATE stock SET available = available - ?, sold = sold + ? WHERE sku = ? AND available >= ?', [
        quantity,
        quantity,
        sku,
        quantity,
      ]),
  });
if (app === 'payment')
  await outbox.consume({
    queue: 'bare.take-money',
    from: 'inventory',
    next: 'bare.settle',
    work: (connection, { orderId, buyerId, amount }) =>
      connection.query(
        `INSERT INTO payment VALUES (?, ?, ?, UTC_TIMESTAMP(3));
         UPDATE account SET balance = balance - ?, captured = captured + ? WHERE buyer_id = ? AND balance >= ?`,
        [orderId, buyerId, amount, amount, amount, buyerId, amount],
      ),
  });
if (app === 'order') {
  let open = 0;
  const waiting: Array<() => void> = [];
  await outbox.consume({
    queue: 'bare.settle',
    from: 'payment',
    work: async (connection, { orderId }) => {
      await connection.query(
        "UPDATE orders SET status = 'CONFIRMED', updated_at = UTC_TIMESTAMP(3) WHERE order_id = ?",
        [orderId],
      );
      open--;
      waiting.shift()?.();
    },
  });
  http.post<{ Body: Wanted }>('/orders', { schema: { body: WANTED } }, async ({ body }, reply) => {
    if (open >= OPEN_MAX) await new Promise<void>((resolve) => waiting.push(resolve));
    open++;
    const { buyerId, sku, quantity } = body;
    const purchase = { orderId: randomUUID(), buyerId, sku, quantity, amount: quantity * PRICE };
    await outbox.accept(purchase, 'bare.take-stock');
    return reply.code(202).send({ ...purchase, status: 'PENDING' });
  });
}
http.get('/health/ready', async () => ({ status: 'ok' }));
await http.listen({ port: Number(port), host: '127.0.0.1' });
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));
