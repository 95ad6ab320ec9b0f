import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const SKU = 'item-0001';
const BODY = { buyerId: 'buyer-stopped', sku: SKU, quantity: 1 };

let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('outage_stopped_process');
  const core = { workSilenceSeconds: 3, heartbeatSeconds: 1, leaseMs: 500, scanIntervalMs: 100 };
  shop = new Stack(sandbox, { options: { core } });
  await shop.start(['order', 'payment', 'inventory']);
  await shop.account(BODY.buyerId, 100_000);
  await shop.stock(SKU, 100);
});

afterAll(() => shop?.stop());

test('a process that is stopped inside a handler keeps no row, because the server ends its session', async () => {
  const [stopped] = await shop.start(['inventory'], { failpoints: 'local-message.appended=1*pause' });
  const isStopped = () => stopped!.hits().includes('local-message.appended');
  const orders: string[] = [];
  const isHit = async () => {
    if (isStopped()) return true;
    orders.push((await shop.order(BODY)).orderId);
    return isStopped();
  };
  await until('an instance is stopped with the row of the stock locked', isHit, { everyMs: 100 });
  for (let n = 0; n < 3; n++) orders.push((await shop.order(BODY)).orderId);
  // While it is stopped. Its own deliveries are of the broker again when its heartbeats are missed.
  for (const orderId of orders) await shop.settled(orderId, 60_000);
  expect(stopped!.exited).toBe(false);
  stopped!.signal('SIGCONT');
  await expectAuditClean(shop);
});
