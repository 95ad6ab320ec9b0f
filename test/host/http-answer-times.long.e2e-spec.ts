import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ADMIN_TOKEN } from '../fixtures/app-process.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { APPS, call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const BOUND_MS = 1_000;
/** A busy machine delays single answers. An answer that waits for the fault is late each time. */
const TRIES = 5;
const CALLERS = 50;
const RESTOCKS = 40;

let sandbox: Sandbox;
let shop: Stack;
let broker: TcpProxy;
let orderId: string;

beforeAll(async () => {
  sandbox = await freshSandbox('http_bounded', { audited: false });
  broker = await TcpProxy.start(sandbox.rabbitmq);
  shop = new Stack(sandbox, { env: { DTX_RABBITMQ_URL: broker.url } });
  await shop.start();
  await shop.account('alice', 1_000_000);
  await shop.stock('book', 1_000);
  ({ orderId } = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 }));
  await shop.settled(orderId);
});

afterAll(async () => {
  broker?.heal();
  await shop?.stop();
  await broker?.close();
});

const PATHS: Record<AppName, (id: string) => string[]> = {
  order: (id) => ['/orders', `/orders/${id}`, '/orders?buyerId=alice', '/catalog'],
  payment: (id) => ['/accounts/alice', `/payments/${id}`, `/checkouts/${id}`],
  inventory: () => ['/stock/book'],
};
const OF_ALL = [
  '/health/live',
  '/health/ready',
  '/metrics',
  '/docs-json',
  '/dtx/summary',
  '/dtx/transactions',
  '/dtx/alerts',
];

/** Every GET of every app that is not answered within the bound in any of some tries. */
async function slow(): Promise<string[]> {
  const found: string[] = [];
  for (const app of APPS)
    for (const path of [...PATHS[app](orderId), ...OF_ALL]) {
      let isAnswered = false;
      for (let n = 0; n < TRIES && !isAnswered; n++) isAnswered = await isQuick(`${shop.of(app).url}${path}`);
      if (!isAnswered) found.push(`${app} ${path}`);
    }
  return found;
}

async function isQuick(url: string): Promise<boolean> {
  try {
    const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(BOUND_MS) });
    await response.text();
    return response.status < 500;
  } catch {
    return false;
  }
}

test('each GET of each app is answered within a second while business rows are locked', async () => {
  const lockers = await Promise.all(APPS.map((app) => createConnection(sandbox.databases[app])));
  const rows = [`orders`, `account WHERE buyer_id = 'alice'`, `stock WHERE sku = 'book'`];
  try {
    for (const [index, locker] of lockers.entries()) {
      await locker.query('START TRANSACTION');
      await locker.query(`SELECT * FROM ${rows[index]} FOR UPDATE`);
    }
    const body = { buyerId: 'alice', sku: 'book', quantity: 1 };
    const purchases = Array.from({ length: 8 }, () => [
      shop.send('payment', 'POST', '/checkouts', body),
      shop.send('order', 'POST', '/orders/xa', body),
    ]).flat();
    expect(await slow()).toEqual([]);
    for (const locker of lockers) await locker.query('ROLLBACK');
    await Promise.allSettled(purchases);
  } finally {
    await Promise.all(lockers.map((locker) => locker.end()));
  }
});

test(`each GET of each app is answered within a second while ${CALLERS} callers ask for its metrics`, async () => {
  let isOver = false;
  const caller = async (app: AppName) => {
    while (!isOver) {
      await call(`${shop.of(app).url}/metrics`);
      await sleep(200);
    }
  };
  const callers = APPS.flatMap((app) => Array.from({ length: CALLERS }, () => caller(app)));
  try {
    expect(await slow()).toEqual([]);
  } finally {
    isOver = true;
    await Promise.all(callers);
  }
});

test('each GET of each app is answered within a second, and orders are accepted, while the broker is frozen', async () => {
  broker.blackHole('both');
  const restocks = Array.from({ length: RESTOCKS }, (_, n) =>
    shop.send('inventory', 'POST', '/restocks', { sku: `item-${String(n + 1).padStart(4, '0')}`, quantity: 1 }),
  );
  const openTransactions = async () => {
    const query = `SELECT COUNT(*) AS n FROM information_schema.innodb_trx JOIN information_schema.processlist ON id = trx_mysql_thread_id
      WHERE db = DATABASE()`;
    const [row] = await sql<{ n: number }>(sandbox, 'inventory', query);
    return Number(row!.n);
  };
  // The server refreshes innodb_trx only after 0.1 s without a reader.
  const rarely = { everyMs: 500 };
  await until('restocks wait for their confirm', async () => (await openTransactions()) > 3, rarely);
  expect(await slow()).toEqual([]);
  const placed = await shop.send('order', 'POST', '/orders', { buyerId: 'alice', sku: 'book', quantity: 1 });
  expect(placed.status).toBe(202);
  broker.heal();
  const statuses = (await Promise.all(restocks)).map(({ status }) => status);
  expect(statuses.filter((status) => status !== 503 && status >= 500)).toEqual([]);
});
