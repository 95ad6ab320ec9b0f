import request from 'supertest';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('local_message');
  shop = new Stack(sandbox);
  await shop.start();
  await shop.start(); // two instances of each app
  await shop.account('alice', 10_000_000);
  await shop.account('bob', 100);
  await shop.stock('book', 1_000);
  await shop.stock('mug', 2);
});

afterAll(() => shop?.stop());

describe('a purchase through the local message table', () => {
  test('a purchase is accepted as PENDING with a Location, settles CONFIRMED, and takes stock and money once', async () => {
    const placed = await request(shop.of('order').url)
      .post('/orders')
      .send({ buyerId: 'alice', sku: 'book', quantity: 2 })
      .expect(202);
    expect(placed.body).toMatchObject({ scheme: 'local-message', status: 'PENDING', amount: 3_998, buyerId: 'alice' });
    expect(placed.headers.location).toBe(`${shop.of('order').url}/orders/${placed.body.orderId}`);
    const done = await shop.settled(placed.body.orderId);
    expect(done).toMatchObject({ status: 'CONFIRMED', amount: 3_998 });
    const payment = await shop.get('payment', `/payments/${placed.body.orderId}`);
    expect(payment.body).toMatchObject({ status: 'CAPTURED', amount: 3_998, buyerId: 'alice' });
  });

  test('a purchase above the stock is CANCELLED with OUT_OF_STOCK and moves no money', async () => {
    const before = await shop.get('payment', '/accounts/alice');
    const { orderId } = await shop.order({ buyerId: 'alice', sku: 'mug', quantity: 3 });
    expect(await shop.settled(orderId)).toMatchObject({ status: 'CANCELLED', reason: 'OUT_OF_STOCK' });
    expect((await shop.get('payment', '/accounts/alice')).body).toEqual(before.body);
    expect((await shop.get('payment', `/payments/${orderId}`)).status).toBe(404);
  });

  test.each([
    ['bob', 'INSUFFICIENT_FUNDS'],
    ['nobody', 'UNKNOWN_BUYER'],
  ])('a purchase by %s is CANCELLED with %s, and its stock is restored', async (buyerId, reason) => {
    const before = (await shop.get('inventory', '/stock/mug')).body;
    const { orderId } = await shop.order({ buyerId, sku: 'mug', quantity: 1 });
    expect(await shop.settled(orderId)).toMatchObject({ status: 'CANCELLED', reason });
    await until(
      'the stock is back',
      async () => (await shop.get('inventory', '/stock/mug')).body.available === before.available,
    );
    expect((await shop.get('inventory', '/stock/mug')).body).toEqual(before);
  });

  test('ten concurrent calls with one Idempotency-Key make one purchase, and a replay repeats status and body', async () => {
    const body = { buyerId: 'alice', sku: 'book', quantity: 1 };
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => shop.send('order', 'POST', '/orders', body, { 'idempotency-key': 'same' })),
    );
    expect(answers.map((answer) => answer.status)).toEqual(Array(10).fill(202));
    expect(new Set(answers.map((answer) => JSON.stringify(answer.body))).size).toBe(1);
    await shop.settled(String(answers[0]!.body.orderId));
    const replay = await shop.send('order', 'POST', '/orders', body, { 'idempotency-key': 'same' });
    expect([replay.status, replay.body]).toEqual([202, answers[0]!.body]);
    const other = await shop.send('order', 'POST', '/orders', { ...body, quantity: 2 }, { 'idempotency-key': 'same' });
    expect(other.status).toBe(422);
  });
});

const PURCHASES = process.env.DTX_TEST_ALL ? 1_000 : 300;

test(`${PURCHASES} purchases at concurrency 32, a third of which fail, all settle, and every invariant holds`, async () => {
  const kinds = [
    { buyerId: 'alice', sku: 'item-0001', quantity: 1 },
    { buyerId: 'alice', sku: 'item-0002', quantity: 1 },
    { buyerId: 'bob', sku: 'phone', quantity: 1 },
  ];
  await Promise.all([
    shop.stock('item-0001', 0.5 * PURCHASES),
    shop.stock('item-0002', 0.3 * PURCHASES),
    shop.stock('phone', PURCHASES),
  ]);
  const orders: string[] = [];
  let next = 0;
  const client = async () => {
    while (next < PURCHASES) orders.push((await shop.order(kinds[next++ % 3]!)).orderId);
  };
  await Promise.all(Array.from({ length: 32 }, client));
  const report = await auditOf(sandbox, 120_000);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  expect(report.ok).toBe(true);
  const [{ pending }] = await sql<{ pending: number }>(
    sandbox,
    'order',
    `SELECT COUNT(*) AS pending FROM orders WHERE status = 'PENDING'`,
  );
  expect(Number(pending)).toBe(0);
  expect(orders.length).toBe(PURCHASES);
}, 240_000);
