// The shop without any guarantee, with mysql2, amqplib and Fastify alone and with their defaults. It is what `npm run bench`
// compares every scheme with. Usage: node main.js order|payment|inventory
// The defaults cost it time: amqplib leaves Nagle's algorithm on. NAIVE_NO_DELAY=1 turns it off, for a row of its own.
import { fastify } from 'fastify';
import { createPool } from 'mysql2/promise';
import { client, serve } from './rpc.js';
import { buy, type Purchase, TABLES, takeMoney, takeStock, WANTED, type Wanted } from './shop.js';

/** As many connections as an app of the shop has. */
const POOL_SIZE = 32;

const app = process.argv[2] ?? '';
const { DTX_DATABASE_URL: database = '', DTX_RABBITMQ_URL: broker = '', PORT: port = '0' } = process.env;
if (!(app in TABLES)) throw new Error(`unknown app "${app}": use order, payment or inventory`);

const pool = createPool({
  uri: database,
  connectionLimit: POOL_SIZE,
  maxIdle: POOL_SIZE,
  timezone: 'Z',
  enableKeepAlive: true,
});
for (const table of TABLES[app]!) await pool.query(table);

const http = fastify();
if (app === 'inventory') await serve(broker, 'naive.inventory', (purchase: Purchase) => takeStock(pool, purchase));
if (app === 'payment') await serve(broker, 'naive.payment', (purchase: Purchase) => takeMoney(pool, purchase));
if (app === 'order') {
  const call = await client(broker);
  http.post<{ Body: Wanted }>('/orders', { schema: { body: WANTED } }, async ({ body }, reply) => {
    const purchase = await buy(pool, call, body);
    return reply.code(purchase.status === 'CONFIRMED' ? 201 : 409).send(purchase);
  });
}
http.get('/health/ready', async () => ({ status: 'ok' }));
await http.listen({ port: Number(port), host: '127.0.0.1' });
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));
