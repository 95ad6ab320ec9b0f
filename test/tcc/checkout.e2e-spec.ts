import request from 'supertest';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectProblem } from './support/problem.js';
import { Stack } from './support/stack.js';
import { auditOf, freshWorld, sql, type World } from './support/world.js';

let world: World;
let shop: Stack;

beforeAll(async () => {
  world = await freshWorld('tcc');
  shop = new Stack(world);
  await shop.start();
  await shop.start(); // two instances of each app
  await shop.account('alice', 10_000_000);
  await shop.account('bob', 100);
  await shop.stock('book', 1_000);
  await shop.stock('mug', 2);
});

afterAll(() => shop?.stop());

const checkOut = (body: object, key?: string) =>
  shop.send('payment', 'POST', '/checkouts', body, key ? { 'idempotency-key': key } : {});

describe('a checkout', () => {
  test('is 201 CONFIRMED at once; order, money and goods say the same', async () => {
    const answer = await request(shop.of('payment').url)
      .post('/checkouts')
      .send({ buyerId: 'alice', sku: 'book', quantity: 2 });
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject({ scheme: 'tcc', status: 'CONFIRMED', amount: 3_998, buyerId: 'alice' });
    const order = await shop.get('order', `/orders/${answer.body.orderId}`);
    expect(order.body).toEqual(answer.body);
    expect(answer.headers.location).toBe(`${shop.of('payment').url}/checkouts/${answer.body.orderId}`);
    expect((await shop.get('payment', `/checkouts/${answer.body.orderId}`)).body).toEqual(answer.body);
    const payment = await shop.get('payment', `/payments/${answer.body.orderId}`);
    expect(payment.body).toMatchObject({ status: 'CAPTURED', amount: 3_998 });
    expect((await shop.get('payment', '/accounts/alice')).body).toMatchObject({
      balance: 10_000_000 - 3_998,
      frozen: 0,
    });
    expect((await shop.get('inventory', '/stock/book')).body).toMatchObject({ available: 998, reserved: 0, sold: 2 });
  });

  test.each([
    ['alice', 3, 'OUT_OF_STOCK'],
    ['bob', 1, 'INSUFFICIENT_FUNDS'],
    ['nobody', 1, 'UNKNOWN_BUYER'],
  ])(
    'by %s of %i mugs is 409 %s; nothing moves, and the order is CANCELLED with that reason',
    async (buyerId, quantity, reason) => {
      const before = await shop.get('inventory', '/stock/mug');
      const answer = await checkOut({ buyerId, sku: 'mug', quantity });
      expect(expectProblem(answer, 409)).toMatchObject({
        type: 'urn:nest-dtx:refused',
        reason,
        orderStatus: 'CANCELLED',
      });
      const { orderId } = answer.body;
      expect((await shop.get('order', `/orders/${orderId}`)).body).toMatchObject({ status: 'CANCELLED', reason });
      expect((await shop.get('inventory', '/stock/mug')).body).toEqual(before.body);
      expect((await shop.get('payment', `/payments/${orderId}`)).status).toBe(404);
    },
  );
});

test('every invariant holds', async () => {
  const report = await auditOf(world);
  console.log(JSON.stringify(report.checks.map((c) => [c.name, c.figures])));
  console.log(await sql(world, 'payment', 'SELECT * FROM dtx_tcc LIMIT 3'));
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
});
