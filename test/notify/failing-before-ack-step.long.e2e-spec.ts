import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { mended, outOfOrder } from '../fixtures/failing-table.js';
import { NOTIFY_SECRET, NOTIFY_TIMES, notificationsOf, notifyingShop, resultsOf } from '../fixtures/notifying-shop.js';
import { Operator } from '../fixtures/operator.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

// The step between commit and ack fails although every server is available: no notification is small enough.
const optionsWith = (notify: object) => ({
  core: { scanIntervalMs: 100, inbox: { attemptsMax: 2, backoff: { firstMs: 50, factor: 1, capMs: 50 } } },
  notify: { ...NOTIFY_TIMES, ...notify },
});
const WANTED = { buyerId: 'alice', sku: 'book', quantity: 1 };
let sandbox: Sandbox;
let shop: Stack;
let payment: Operator;

beforeAll(async () => {
  sandbox = await freshSandbox('notify_before_ack');
  shop = await notifyingShop(sandbox, { options: optionsWith({ payloadMaxBytes: 10 }) });
  payment = new Operator(shop, 'payment');
  await shop.account('alice', 1_000_000);
  await shop.stock('book', 100);
});

afterAll(() => shop?.stop());

const alertsOpen = async (id: string) => (await payment.alertsOf(id)).filter(({ closedAt }) => closedAt === null);

/** The cause is removed by a person: the payment app comes back with options that let notifications through. */
async function removeTheCause(): Promise<void> {
  const wrong = shop.of('payment');
  await wrong.stop();
  const target = new URL('/payment-results', shop.of('order').url).href;
  const env = { DTX_NOTIFY_SECRET: NOTIFY_SECRET, DTX_NOTIFY_URL: target, DTX_NOTIFY_ALLOW: '127.0.0.0/8' };
  await shop.start(['payment'], { options: optionsWith({}), env: { ...env, PORT: new URL(wrong.url).port } });
}

const known = (orderId: string) =>
  until(`the merchant knows of ${orderId}`, async () => {
    const results = await resultsOf(sandbox, orderId);
    return results.length > 0 && results;
  });

const handled = (id: string) =>
  until(`${id} is handled`, async () => {
    const [row] = await sql<{ state: string; outcome: string | null }>(
      sandbox,
      'payment',
      'SELECT state, outcome FROM dtx_inbox WHERE id = ?',
      [id],
    );
    return row?.state === 'HANDLED' && row;
  });

test('a delivery whose step before the ack fails is parked with one alert after its business has settled, and a retry ends it', async () => {
  // The money is taken, and the notification cannot be stored.
  const taken = await shop.order(WANTED);
  const one = await payment.parkedOf(taken.orderId);
  expect(await shop.settled(taken.orderId)).toMatchObject({ status: 'CONFIRMED' });
  expect((await payment.get(`/transactions/${one.id}`)).body).toMatchObject({ state: 'PARKED', attempts: 2 });
  expect(one.lastError).toMatch(/bytes, at most 10 are allowed/);
  expect(await alertsOpen(one.id)).toHaveLength(1);
  // Committed is committed: this can only be told, or left.
  expectProblem(await payment.resolve(one.id, 'reject'), 409);

  // A handler gave up and an operator rejects. The notification of this rejection fails too, as an incident of its own.
  await outOfOrder(sandbox, 'payment', 'account');
  const refused = await shop.order(WANTED);
  const other = await payment.parkedOf(refused.orderId);
  expect(other.lastError).toBe('out of order');
  await mended(sandbox, 'payment');
  expect((await payment.resolve(other.id, 'reject')).status).toBe(200);
  expect(await shop.settled(refused.orderId)).toMatchObject({ status: 'CANCELLED' });
  await until('it gives up again', async () => (await payment.alertsOf(other.id)).length === 2);
  expect(await alertsOpen(other.id)).toHaveLength(1);
  expectProblem(await payment.resolve(other.id, 'reject'), 409);
  const { ok, parked } = await auditOf(sandbox);
  expect([ok, parked.map(({ gid }) => gid).sort()]).toEqual([true, [taken.orderId, refused.orderId].sort()]);
  for (const { orderId } of [taken, refused]) expect(await notificationsOf(sandbox, orderId)).toEqual([]);

  await removeTheCause();
  for (const { id } of [one, other]) expect((await payment.retry(id)).status).toBe(200);
  expect(await known(taken.orderId)).toEqual([{ status: 'CAPTURED', source: 'told' }]);
  expect(await known(refused.orderId)).toEqual([{ status: 'DECLINED', source: 'told' }]);
  expect((await handled(one.id)).outcome).toBe(null);
  expect((await handled(other.id)).outcome).toBe('rejected by hand');
  for (const { id } of [one, other]) {
    expect(await alertsOpen(id)).toEqual([]);
    expectProblem(await payment.retry(id), 409);
  }
  for (const { orderId } of [taken, refused]) expect(await notificationsOf(sandbox, orderId)).toHaveLength(1);
});

test('the merchant is notified of a refusal by an operator like of any other', async () => {
  await outOfOrder(sandbox, 'payment', 'account');
  const { orderId } = await shop.order(WANTED);
  const { id } = await payment.parkedOf(orderId);
  expect((await payment.resolve(id, 'reject')).status).toBe(200);
  await mended(sandbox, 'payment');
  expect(await known(orderId)).toEqual([{ status: 'DECLINED', source: 'told' }]);
  expect((await handled(id)).outcome).toBe('rejected by hand');
  expect(await shop.settled(orderId)).toMatchObject({ status: 'CANCELLED' });
});

test('no row waits for an operator after the tests, and every invariant holds', async () => {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  expect([report.ok, report.parked]).toEqual([true, []]);
});
