// The purchase as a saga of Restate, one app: node main.js order|payment|inventory. Callers and services meet at Restate's server,
// which stores each step. RabbitMQ has no part in it.
import './promise-with-resolvers.js';
import { createServer } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEndpointHandler } from '@restatedev/restate-sdk';
import { fastify } from 'fastify';
import { createPool } from 'mysql2/promise';
import { POOL_SIZE, started, TABLES } from '../purchase.js';
import { serviceOf } from './services.js';

const REGISTER_BOUND_MS = 90_000;

const { app, database, port } = started();
const { RESTATE_ADMIN_URL: admin = '' } = process.env;
const pool = createPool({
  uri: database,
  connectionLimit: POOL_SIZE,
  maxIdle: POOL_SIZE,
  timezone: 'Z',
  enableKeepAlive: true,
});
for (const table of TABLES[app]) await pool.query(table);

const services = createServer(createEndpointHandler({ services: [serviceOf(app, pool)] }));
await new Promise<void>((listening) => services.listen(0, '127.0.0.1', listening));
await register(`http://127.0.0.1:${(services.address() as { port: number }).port}`);

const http = fastify();
http.get('/health/ready', async () => ({ status: 'ok' }));
await http.listen({ port, host: '127.0.0.1' });
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));

/** Tells Restate's server where the services of this app are. The server may still be starting. */
async function register(uri: string): Promise<void> {
  for (const end = Date.now() + REGISTER_BOUND_MS; ; await sleep(200)) {
    const why = await fetch(`${admin}/deployments`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ uri }),
    }).then(
      async (answer) => (answer.ok ? null : `${answer.status} ${await answer.text()}`),
      (error: Error) => error.message,
    );
    if (why === null) return;
    if (Date.now() > end) throw new Error(`Restate's server at ${admin} did not register ${uri}: ${why}`);
  }
}
