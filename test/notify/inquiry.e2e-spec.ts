import { afterAll, beforeAll, expect, test } from 'vitest';
import { Target } from '../fixtures/notification-target.js';
import { NOTIFY_SECRET, NOTIFY_TIMES, notificationsOf, notifyingShop, resultsOf } from '../fixtures/notifying-shop.js';
import { Operator } from '../fixtures/operator.js';
import { auditOf, freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

let sandbox: Sandbox;
let shop: Stack;
let target: Target;

beforeAll(async () => {
  sandbox = await freshSandbox('notify_inquiry');
  target = await Target.start();
  target.behave('/gone', (response) => response.writeHead(410).end());
  const notify = { ...NOTIFY_TIMES, askAfterMs: 300, askIntervalMs: 100 };
  shop = await notifyingShop(sandbox, { options: { notify }, payment: paymentEnv() });
  await shop.account('alice', 1_000_000);
  await shop.stock('book', 10);
});

afterAll(async () => {
  if (shop) await Operator.closeEverything(shop);
  await shop?.stop();
  await target?.close();
});

const paymentEnv = () => ({
  DTX_NOTIFY_SECRET: NOTIFY_SECRET,
  DTX_NOTIFY_URL: target.url('/gone'),
  DTX_NOTIFY_ALLOW: '127.0.0.0/8',
});

const known = (orderId: string) =>
  until(`the merchant knows of ${orderId}`, async () => {
    const results = await resultsOf(sandbox, orderId);
    return results.length > 0 && results;
  });

test('the order app asks for the result of an order without a notification, captured or declined', async () => {
  const [bought, declined, refused] = await Promise.all([
    shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 }),
    shop.order({ buyerId: 'nobody', sku: 'book', quantity: 1 }),
    shop.order({ buyerId: 'alice', sku: 'phone', quantity: 1 }),
  ]);
  expect(await known(bought!.orderId)).toEqual([{ status: 'CAPTURED', source: 'asked' }]);
  expect(await known(declined!.orderId)).toEqual([{ status: 'DECLINED', source: 'asked' }]);
  expect(await known(refused!.orderId)).toEqual([{ status: 'NONE', source: 'asked' }]);
  const told = async () => (await notificationsOf(sandbox, bought!.orderId)).map(({ state }) => state);
  await until('the notification is parked', async () => (await told()).join() === 'PARKED');
});

test('the order app asks again for a result after the payment app was unavailable', async () => {
  const away = shop.of('payment');
  await away.kill();
  const { orderId } = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 });
  const isAskedInVain = () => shop.of('order').log().includes(`for ${orderId} failed`);
  await until('the order app has asked in vain', isAskedInVain);
  expect(await resultsOf(sandbox, orderId)).toEqual([]);
  await shop.start(['payment'], { env: { ...paymentEnv(), PORT: new URL(away.url).port } });
  expect(await known(orderId)).toEqual([{ status: 'CAPTURED', source: 'asked' }]);
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check: { violations: string[] }) => check.violations)).toEqual([]);
});
