import { afterAll, beforeAll, expect, test } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { BOOK, sell, sold, takes, verdicts } from './sale-and-verdict.js';

let sandbox: Sandbox;
let shop: Stack;
const inventory = () => shop.of('inventory');

beforeAll(async () => {
  sandbox = await freshSandbox('flash_sale');
  shop = new Stack(sandbox, { options: SHORT_TIMES });
  await shop.start();
  await Promise.all([shop.account('alice', 1_000_000), shop.account('bob', 1)]);
  await Promise.all([shop.stock('book', 100), shop.stock('phone', 1)]);
});

afterAll(async () => {
  await expectAuditClean(shop);
  await shop.stop();
});

test('a flash sale takes stock and money and creates an order of its scheme', async () => {
  const orderId = await sold(inventory(), 'good');
  expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED', scheme: 'half-message', amount: 1_999 });
  expect(await takes(sandbox, orderId)).toEqual([{ state: 'TAKEN', times: 1 }]);
  expect((await shop.get('payment', `/payments/${orderId}`)).body).toMatchObject({ status: 'CAPTURED' });
  await until('it is marked', async () => (await verdicts(sandbox, orderId))[0]?.state === 'DONE');
});

test('a repeated call returns the same purchase, also after it has settled', async () => {
  const first = await sell(inventory(), 'twice');
  await shop.settled(String(first.body.orderId));
  const again = await sell(inventory(), 'twice');
  expect([again.status, again.body]).toEqual([202, first.body]);
  expect(await takes(sandbox, String(first.body.orderId))).toEqual([{ state: 'TAKEN', times: 1 }]);
  expect((await sell(inventory(), 'twice', { ...BOOK, quantity: 2 })).status).toBe(422);
});

test('a sale without stock is refused at once and leaves only a verdict and a prepared message that its check discards', async () => {
  const answer = await sell(inventory(), 'none-left', { ...BOOK, sku: 'phone', quantity: 2 });
  const orderId = String(answer.body.orderId);
  expect([answer.status, answer.body]).toMatchObject([409, { orderStatus: 'CANCELLED', reason: 'OUT_OF_STOCK' }]);
  expect((await sell(inventory(), 'none-left', { ...BOOK, sku: 'phone', quantity: 2 })).body).toEqual(answer.body);
  await until('it is ruled', async () => (await verdicts(sandbox, orderId))[0]?.state === 'ROLLED_BACK');
  expect(await takes(sandbox, orderId)).toEqual([]);
  expect((await shop.get('order', `/orders/${orderId}`)).status).toBe(404);
  expect((await shop.get('inventory', '/stock/phone')).body).toMatchObject({ available: 1, sold: 0 });
});

test.each([
  ['bob', 'INSUFFICIENT_FUNDS'],
  ['a stranger', 'UNKNOWN_BUYER'],
])('the stock is restored and the order cancelled if payment cannot take the money of %s', async (buyerId, reason) => {
  const orderId = await sold(inventory(), `poor-${reason}`, { ...BOOK, buyerId });
  expect(await shop.settled(orderId)).toMatchObject({ status: 'CANCELLED', reason });
  await until('the stock is back', async () => (await takes(sandbox, orderId))[0]?.state === 'RETURNED');
  expect((await shop.get('payment', `/payments/${orderId}`)).body).toMatchObject({ status: 'DECLINED' });
});

test('twenty concurrent calls with one Idempotency-Key make one sale', async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, () => sell(inventory(), 'at-once')));
  const accepted = answers.filter(({ status }) => status === 202);
  expect(answers.every(({ status }) => [202, 409].includes(status))).toBe(true);
  expect(new Set(accepted.map(({ body }) => body.orderId)).size).toBe(1);
  const orderId = String(accepted[0]!.body.orderId);
  expect((await shop.settled(orderId)).status).toBe('CONFIRMED');
  expect(await takes(sandbox, orderId)).toEqual([{ state: 'TAKEN', times: 1 }]);
});
