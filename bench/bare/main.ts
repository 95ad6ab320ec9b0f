// A purchase by messages, by TCC and by saga with mysql2, amqplib and Fastify alone: the floor of `npm run bench -- bare`. It is not for
// use, since it recovers nothing. Usage: node main.js order|payment|inventory
import { fastify } from 'fastify';
import { createPool } from 'mysql2/promise';
import { TABLES } from '../naive/shop.js';
import { APPS } from './apps.js';
import { Broker } from './broker.js';
import { serveMessages } from './messages.js';
import { serveSaga } from './saga.js';
import { serveTcc } from './tcc.js';

const POOL_SIZE = 32;

const app = APPS.find((one) => one === process.argv[2]);
if (!app) throw new Error(`unknown app "${process.argv[2]}": use order, payment or inventory`);
const { DTX_DATABASE_URL: database = '', DTX_RABBITMQ_URL: url = '', PORT: port = '0' } = process.env;
const pool = createPool({
  uri: database,
  connectionLimit: POOL_SIZE,
  maxIdle: POOL_SIZE,
  timezone: 'Z',
  enableKeepAlive: true,
  multipleStatements: true,
});
// As the sessions of the library. Otherwise Confirm locks the gap behind its barrier rows.
pool.on('connection', (connection) => connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED'));
for (const table of TABLES[app]!) await pool.query(table);
const http = fastify();
const broker = await Broker.open(url);
await serveMessages(app, { pool, broker, http });
await serveTcc(app, { pool, broker, http });
await serveSaga(app, { pool, broker, http });
http.get('/health/ready', async () => ({ status: 'ok' }));
await http.listen({ port: Number(port), host: '127.0.0.1' });
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));
