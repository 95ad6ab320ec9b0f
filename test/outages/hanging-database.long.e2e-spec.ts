import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const SKU = 'item-0001';
const BODY = { buyerId: 'buyer-silent', sku: SKU, quantity: 1 };

let sandbox: Sandbox;
let proxy: TcpProxy;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('outage_silent_database');
  proxy = await TcpProxy.start(sandbox.databases.order);
  shop = new Stack(sandbox);
  await Promise.all([
    shop.start(['order'], { env: { DTX_DATABASE_URL: proxy.url } }),
    shop.start(['payment', 'inventory']),
  ]);
  await shop.account(BODY.buyerId, 1_000_000);
  await shop.stock(SKU, 1_000);
});

afterAll(async () => {
  await shop?.stop();
  await proxy?.close();
});

const post = (path: string, key: string) => shop.send('order', 'POST', path, BODY, { 'idempotency-key': key });

/** Every answer comes within the 35 s after which `call` gives up, and says in seconds when to come again. */
async function expectUnavailable(calls: ReadonlyArray<Promise<Awaited<ReturnType<typeof call>>>>): Promise<void> {
  for (const { status, headers, body } of await Promise.all(calls)) {
    expect({ status, body }).toMatchObject({ status: 503 });
    expect(headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
  }
}

test('every call answers 503 in time while a database is silent, and works when it answers again', async () => {
  const { orderId } = await shop.order(BODY);
  await shop.settled(orderId);
  proxy.blackHole('to-client');
  await expectUnavailable([
    shop.get('order', `/orders/${orderId}`),
    shop.get('order', '/orders'),
    post('/orders', 'silent-1'),
    post('/orders', 'silent-2'),
    post('/orders/xa', 'silent-xa'),
  ]);
  expect(proxy.counts.swallowed).toBeGreaterThan(0);
  proxy.heal();
  await until('an order is taken', async () => (await post('/orders', 'silent-1')).status === 202);
  await until('XA buys', async () => (await post('/orders/xa', 'silent-xa')).status === 201);
  await expectAuditClean(shop);
});

test('purchases and reads answer 503 in time while a table is locked, and work when it is unlocked', async () => {
  const holder = await createConnection({ uri: sandbox.databases.order });
  await holder.query('LOCK TABLES orders WRITE');
  await expectUnavailable([shop.get('order', '/orders'), post('/orders', 'locked-1')]);
  await holder.query('UNLOCK TABLES');
  await holder.end();
  expect((await post('/orders', 'locked-1')).status).toBe(202);
  expect((await shop.get('order', '/orders')).status).toBe(200);
  await expectAuditClean(shop);
});
