import { afterAll, beforeAll, expect, test } from 'vitest';
import { mended, outOfOrder } from '../fixtures/failing-table.js';
import { notifyingShop, resultsOf } from '../fixtures/notifying-shop.js';
import { Operator } from '../fixtures/operator.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { type AppName, auditOf, freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { call, type Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

let sandbox: Sandbox;
let shop: Stack;
let probe: QueueProbe;

beforeAll(async () => {
  sandbox = await freshSandbox('operations_metrics');
  probe = await QueueProbe.open(sandbox);
  const inbox = { attemptsMax: 3, backoff: { firstMs: 50, factor: 1, capMs: 50 } };
  shop = await notifyingShop(sandbox, { options: { core: { scanIntervalMs: 100, inbox } } });
  await shop.account('alice', 1_000_000);
  await shop.stock('book', 100);
});

afterAll(async () => {
  if (shop) await Operator.closeEverything(shop);
  await shop?.stop();
  await probe?.close(); // after the receipts of the rows that were settled just now
});

/** The samples of one app, as `name{labels} value`. */
async function samples(app: AppName): Promise<string[]> {
  const { body } = await call(`${shop.of(app).url}/metrics`);
  return String(body.text)
    .split('\n')
    .filter((line) => line.startsWith('dtx_'));
}

function sum(lines: readonly string[], start: string): number {
  const found = lines.filter((line) => line.startsWith(start)).map((line) => Number(line.split(' ').at(-1)));
  return found.reduce((total, value) => total + value, 0);
}

test('the metrics count begun, settled, published and received messages with their times', async () => {
  const { orderId } = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 });
  await shop.send('payment', 'POST', '/checkouts', { buyerId: 'alice', sku: 'book', quantity: 1 });
  await until('the merchant knows', async () => (await resultsOf(sandbox, orderId)).length === 1);
  await until('all is settled', async () => (await auditOf(sandbox)).ok);
  const [order, payment] = [await samples('order'), await samples('payment')];
  for (const name of ['dtx_started_total', 'dtx_settled_total', 'dtx_settle_seconds_count']) {
    expect(sum(order, `${name}{scheme="local-message"}`), name).toBe(1);
    expect(sum(payment, `${name}{scheme="tcc"}`), name).toBe(1);
    expect(sum(payment, `${name}{scheme="notify"}`), name).toBe(2);
  }
  expect(sum(payment, 'dtx_publish_seconds_count{outcome="confirmed"}')).toBeGreaterThan(0);
  expect(sum(payment, 'dtx_consumer_lag_seconds_count{consumer="payment.take-money"}')).toBe(1);
  expect(payment.some((line) => line.startsWith('dtx_oldest_due_seconds{scheme="notify"'))).toBe(true);
});

test('the metrics count retries and parked rows', async () => {
  await outOfOrder(sandbox, 'payment', 'payment', { on: 'INSERT' });
  const { orderId } = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 });
  const payment = new Operator(shop, 'payment');
  const { id } = await payment.parkedOf(orderId);
  const lines = await samples('payment');
  expect(sum(lines, 'dtx_retries_total{scheme="local-message"}')).toBe(2);
  expect(sum(lines, 'dtx_parked_total{scheme="local-message"}')).toBe(1);
  await mended(sandbox, 'payment');
  await payment.retry(id);
  expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
});

test('no message can choose a label of the metrics', async () => {
  const before = (await samples('inventory')).length;
  for (let n = 0; n < 30; n++) {
    const headers = { 'dtx-scheme': `forged-${n}` };
    const properties = { messageId: `forged-${n}`, type: 'order.placed.v1', headers };
    await probe.deliver('dtx.inventory.take-stock.v1', 'nonsense', properties);
  }
  const lines = await samples('inventory');
  expect(sum(lines, 'dtx_parked_total{scheme="other"}')).toBe(30);
  expect(lines.filter((line) => line.includes('forged'))).toEqual([]);
  expect(lines.length).toBeLessThan(before + 10);
});
