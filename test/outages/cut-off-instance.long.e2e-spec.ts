import { afterAll, beforeAll, expect, test } from 'vitest';
import { logLines } from '../fixtures/app-logs.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { type Answer, call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

/** Two instances of the order app on one database. One of them reaches it through a proxy. */
const PURCHASES = 12;
/** Of a flash sale from its answer to its end. An instance that kept its deliveries would settle them after the outage. */
const SETTLED_WITHIN_MS = 10_000;
const BODY = { buyerId: 'buyer-cut-off', sku: 'item-0001', quantity: 1 };

let sandbox: Sandbox;
let proxy: TcpProxy;
let shop: Stack;
let cutOff: AppProcess;

beforeAll(async () => {
  sandbox = await freshSandbox('outage_cut_off');
  proxy = await TcpProxy.start(sandbox.databases.order);
  shop = new Stack(sandbox);
  await shop.start(['order', 'payment', 'inventory']);
  [cutOff] = (await shop.start(['order'], { env: { DTX_DATABASE_URL: proxy.url } })) as [AppProcess];
  await shop.account(BODY.buyerId, 1_000_000);
  await shop.stock(BODY.sku, 1_000);
});

afterAll(async () => {
  await shop?.stop();
  await proxy?.close();
});

const post = (app: 'payment' | 'inventory', path: string, n: number) =>
  shop.send(app, 'POST', path, BODY, { 'idempotency-key': `cut-off-${n}` });
const logged = (text: string) => logLines(cutOff).some(({ message }) => message.startsWith(text));

test('an instance without its database leaves all work to the other one, and takes its share again afterwards', async () => {
  proxy.cut();
  // Both kinds at once, from the moment of the cut: half of the deliveries go to the instance without a database.
  const numbers = Array.from({ length: PURCHASES }, (_, n) => n);
  const end = async ({ status, body }: Answer) => {
    // 202: the second phase has reached the instance without a database first.
    expect([201, 202]).toContain(status);
    return (await shop.settled(String(body.orderId), SETTLED_WITHIN_MS)).status;
  };
  const checkouts = Promise.all(numbers.map(async (n) => end(await post('payment', '/checkouts', n))));
  const sales = Promise.all(numbers.map(async (n) => end(await post('inventory', '/flash-sales', n))));
  for (const kind of await Promise.all([checkouts, sales])) expect(kind).toEqual(numbers.map(() => 'CONFIRMED'));
  await until('its consumers are paused', () => logged('paused all consumers'));
  const { status, body } = await call(`${cutOff.url}/health/ready`);
  expect([status, body.detail]).toEqual([503, expect.stringMatching(/takes no write/)]);

  // Paused, it gets nothing at all.
  const later = await post('payment', '/checkouts', PURCHASES);
  expect(later.status).toBe(201);

  proxy.heal();
  await until('its consumers are resumed', () => logged('resumed all consumers'));
  await shop.untilReady(cutOff);
  expect(await sql(sandbox, 'order', 'SELECT id FROM dtx_inbox WHERE attempts > 0')).toEqual([]);
  await expectAuditClean(shop);
});
