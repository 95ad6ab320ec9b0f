import request from 'supertest';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { troubleIn } from '../fixtures/app-logs.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import type { AppName } from '../fixtures/sandbox.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Purchase, Stack } from '../fixtures/three-apps.js';

const UNKNOWN_ID = '01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f';
let sandbox: Sandbox;
let shop: Stack;
let confirmed: Purchase;
let cancelled: Purchase;

beforeAll(async () => {
  sandbox = await freshSandbox('http_reads');
  shop = new Stack(sandbox);
  await shop.start();
  await shop.account('alice', 10_000_000);
  await shop.stock('book', 1_000);
  confirmed = await shop.settled((await shop.order({ buyerId: 'alice', sku: 'book', quantity: 2 })).orderId);
  cancelled = await shop.settled((await shop.order({ buyerId: 'nobody', sku: 'book', quantity: 1 })).orderId);
  for (let i = 0; i < 4; i++) await shop.order({ buyerId: '💰 & co', sku: 'book', quantity: 1 });
});

afterAll(() => shop?.stop());

const get = (app: AppName, path: string) => request(shop.of(app).url).get(path);
/** The longest `waitMs` that is allowed. */
const LONGEST_WAIT_MS = 30_000;

describe('GET /orders/{id}', () => {
  test('GET /orders/{id} returns the outcome of the purchase and no other field', async () => {
    const fields = ['orderId', 'scheme', 'buyerId', 'sku', 'quantity', 'amount', 'status', 'createdAt', 'updatedAt'];
    const { body, status, type } = await get('order', `/orders/${confirmed.orderId}`);
    expect([status, type, Object.keys(body)]).toEqual([200, 'application/json', fields]);
    expect(body).toMatchObject({ status: 'CONFIRMED', amount: 3_998, scheme: 'local-message' });
    const refused = (await get('order', `/orders/${cancelled.orderId}`)).body;
    expect(refused).toMatchObject({ status: 'CANCELLED', reason: 'UNKNOWN_BUYER' });
    for (const at of ['createdAt', 'updatedAt']) expect(new Date(refused[at]).toISOString()).toBe(refused[at]);
  });

  test('GET /orders/{id} with waitMs answers at once for a final order, and after waitMs for an unknown one', async () => {
    await get('order', `/orders/${confirmed.orderId}?waitMs=${LONGEST_WAIT_MS}`)
      .timeout(LONGEST_WAIT_MS / 2)
      .expect(200);
    await get('order', `/orders/${confirmed.orderId}?waitMs=0`).expect(200);
    // A timer is never early, so a busy machine does not matter here.
    const before = performance.now();
    expectProblem(await get('order', `/orders/${UNKNOWN_ID}?waitMs=300`), 404);
    expect(performance.now() - before).toBeGreaterThanOrEqual(290);
  });

  test.each(['-1', '30001', 'abc', '', '1.5', '1e3', '0x10', ' 5', '5&waitMs=6', '99999999999999999999', 'null', '٣'])(
    'GET /orders/{id} answers 400 for waitMs=%s',
    async (waitMs) => {
      expectProblem(
        await get('order', encodeURI(`/orders/${confirmed.orderId}?waitMs=${waitMs}`)),
        400,
        'query.waitMs',
      );
    },
  );

  test('GET /orders/{id} answers 400 for an unknown query parameter', async () => {
    expectProblem(await get('order', `/orders/${confirmed.orderId}?wait=5`), 400, 'query.wait');
  });
});

describe('GET /orders', () => {
  const list = (query: string) => get('order', `/orders${query}`);

  test('GET /orders filters by each field and by all together', async () => {
    const filters = `buyerId=${encodeURIComponent('💰 & co')}&scheme=local-message`;
    expect((await list(`?${filters}`)).body).toMatchObject({ nextCursor: null, items: Array(4).fill({ sku: 'book' }) });
    const mine = (await list('?buyerId=alice&status=CONFIRMED')).body.items;
    expect(mine).toEqual([expect.objectContaining({ orderId: confirmed.orderId })]);
    expect((await list('?scheme=xa')).body).toEqual({ items: [], nextCursor: null });
    expect((await list('')).body.items).toHaveLength(6);
  });

  test('GET /orders continues at a cursor with the filters of that cursor only', async () => {
    const first = (await list('?limit=4')).body;
    const rest = (await list(`?limit=4&cursor=${first.nextCursor}`)).body;
    expect([first.items.length, rest.items.length, rest.nextCursor]).toEqual([4, 2, null]);
    expectProblem(await list(`?cursor=${first.nextCursor}&status=PENDING`), 400, 'query.cursor');
    const tampered = [...first.nextCursor].map((char: string) => (char === 'A' ? 'B' : 'A')).join('');
    for (const cursor of [
      tampered,
      first.nextCursor.slice(1),
      `${first.nextCursor}A`,
      first.nextCursor.toLowerCase(),
    ]) {
      expectProblem(await list(`?cursor=${cursor}`), 400, 'query.cursor');
    }
  });

  test.each([
    ['limit=0', 'query.limit'],
    ['limit=101', 'query.limit'],
    ['limit=abc', 'query.limit'],
    ['limit=', 'query.limit'],
    ['limit=-1', 'query.limit'],
    ['limit=1.5', 'query.limit'],
    ['limit=1&limit=2', 'query.limit'],
    ['scheme=sega', 'query.scheme'],
    ['scheme=', 'query.scheme'],
    ['status=pending', 'query.status'],
    ['status=PENDING&status=CONFIRMED', 'query.status'],
    ['buyerId=', 'query.buyerId'],
    [`buyerId=${'x'.repeat(65)}`, 'query.buyerId'],
    ['buyerId=a\0', 'query.buyerId'],
    ['cursor=', 'query.cursor'],
    ['cursor=x', 'query.cursor'],
    ["cursor=' OR 1=1", 'query.cursor'],
    [`cursor=${'A'.repeat(36)}`, 'query.cursor'],
    [`cursor=${'A'.repeat(5_000)}`, 'query.cursor'],
    ['sort=asc', 'query.sort'],
    ['__proto__=x', 'query.__proto__'],
  ])('GET /orders answers 400 for %s', async (query, field) => {
    expectProblem(await list(encodeURI(`?${query}`)), 400, field);
  });
});

test('GET /payments/{orderId} returns a captured and a declined payment', async () => {
  const { orderId } = confirmed;
  const paid = { orderId, buyerId: 'alice', amount: 3_998, status: 'CAPTURED' };
  expect((await get('payment', `/payments/${orderId}`).expect(200)).body).toEqual(paid);
  const refused = (await get('payment', `/payments/${cancelled.orderId}`).expect(200)).body;
  expect(refused).toEqual({ orderId: cancelled.orderId, buyerId: 'nobody', amount: 1_999, status: 'DECLINED' });
});

test('the reads have changed nothing, and no log has an error or a stack trace', async () => {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  const accounts = await sql(sandbox, 'payment', 'SELECT buyer_id AS b FROM account ORDER BY b');
  expect(accounts).toEqual([{ b: 'alice' }]);
  expect((await sql(sandbox, 'inventory', 'SELECT sku FROM stock')).length).toBe(1);
  expect(troubleIn(shop.instances)).toEqual([]);
});
