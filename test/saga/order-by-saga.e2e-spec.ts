import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Answer, call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };
const BALANCE = 10_000_000;
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('saga_order');
  shop = new Stack(sandbox);
  await shop.start();
  await Promise.all([shop.account('alice', BALANCE), shop.account('bob', 100)]);
  await Promise.all([shop.stock('book', 1_000), shop.stock('mug', 2)]);
});

afterAll(() => shop?.stop());

function order(body: object, key?: string): Promise<Answer> {
  const headers = { 'content-type': 'application/json', ...(key ? { 'idempotency-key': key } : {}) };
  return call(`${shop.of('order').url}/orders/saga`, { method: 'POST', headers, body: JSON.stringify(body) });
}

describe('POST /orders/saga', () => {
  test('a purchase is answered with 201 CONFIRMED, and order, money and goods agree', async () => {
    const answer = await order({ ...BOOK, quantity: 2 });
    expect(answer.body).toMatchObject({ scheme: 'saga', status: 'CONFIRMED', amount: 3_998, buyerId: 'alice' });
    expect(answer.status).toBe(201);
    const { orderId } = answer.body;
    expect((await shop.get('order', `/orders/${orderId}`)).body).toEqual(answer.body);
    expect(answer.headers.get('location')).toBe(`${shop.of('order').url}/orders/${orderId}`);
    const payment = await shop.get('payment', `/payments/${orderId}`);
    expect(payment.body).toMatchObject({ status: 'CAPTURED', amount: 3_998 });
    expect((await shop.get('payment', '/accounts/alice')).body).toMatchObject({ balance: BALANCE - 3_998, frozen: 0 });
    expect((await shop.get('inventory', '/stock/book')).body).toMatchObject({ available: 998, reserved: 0, sold: 2 });
  });

  test.each([
    ['alice', 3, 'OUT_OF_STOCK'],
    ['bob', 1, 'INSUFFICIENT_FUNDS'],
    ['stranger', 1, 'UNKNOWN_BUYER'],
  ])(
    'a purchase by %s of %i mugs is answered with 409 %s, and the order is CANCELLED without effects',
    async (buyerId, quantity, reason) => {
      const before = await shop.get('inventory', '/stock/mug');
      const answer = await order({ buyerId, sku: 'mug', quantity });
      const problem = expectProblem(answer, 409);
      expect(problem).toMatchObject({ type: 'urn:nest-dtx:refused', reason, orderStatus: 'CANCELLED' });
      const found = await shop.get('order', `/orders/${problem.orderId}`);
      expect(found.body).toMatchObject({ status: 'CANCELLED', reason, scheme: 'saga', buyerId });
      const { version: _, ...stock } = (await shop.get('inventory', '/stock/mug')).body;
      expect(before.body).toMatchObject(stock);
      expect((await shop.get('payment', `/payments/${problem.orderId}`)).status).toBe(404);
    },
  );

  test('a repeated purchase with the same key is one, and an invalid body is answered with 400', async () => {
    const [first, again] = [await order(BOOK, 'saga-key-1'), await order(BOOK, 'saga-key-1')];
    expect(again.body).toEqual(first.body);
    expectProblem(await order({ ...BOOK, quantity: 2 }, 'saga-key-1'), 422);
    expectProblem(await order({ ...BOOK, quantity: 0 }), 400, 'quantity');
  });

  test('a purchase during an outage of the payment app is answered with 202 PENDING, and confirmed afterwards', async () => {
    await shop.of('payment').stop();
    const answer = await order({ ...BOOK, buyerId: 'alice' }, 'saga-outage');
    expect(answer).toMatchObject({ status: 202, body: { status: 'PENDING', scheme: 'saga' } });
    const { orderId } = answer.body;
    expect(answer.headers.get('location')).toBe(`${shop.of('order').url}/orders/${orderId}`);
    expect((await shop.get('order', `/orders/${orderId}`)).body).toMatchObject({ status: 'PENDING' });
    await shop.start(['payment']);
    const found = await shop.get('order', `/orders/${orderId}?waitMs=30000`);
    expect(found.body).toMatchObject({ status: 'CONFIRMED', scheme: 'saga' });
    const again = await order({ ...BOOK, buyerId: 'alice' }, 'saga-outage');
    expect(again).toMatchObject({ status: 201, body: found.body });
  });

  test('an order app that is killed in the middle of purchases leaves no saga open, and every invariant holds', async () => {
    const [killed] = [shop.of('order')];
    const purchases = Array.from({ length: 20 }, (_, index) => order(BOOK, `saga-kill-${index}`).catch(() => null));
    await until('some sagas run', async () => {
      const rows = await sql(sandbox, 'order', `SELECT id FROM dtx_saga WHERE state IN ('RUNNING', 'PIVOT')`);
      return rows.length > 3;
    });
    killed.kill();
    await Promise.all(purchases);
    await shop.start(['order']);
    const report = await auditOf(sandbox);
    expect(report).toMatchObject({ ok: true });
    expect(report.checks.find(({ name }) => name === 'sagas')?.figures).toMatchObject({ open: 0 });
  });
});
