import { afterAll, beforeAll, expect, test } from 'vitest';
import { Operator } from '../fixtures/operator.js';
import { auditOf, freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { checkOut, down, transactionOf, untilState } from './checkouts-by-key.js';

let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_parked_confirm');
  shop = new Stack(sandbox);
  await shop.start();
  await Promise.all([shop.account('alice', 10_000_000), shop.stock('book', 1_000)]);
});

afterAll(() => shop?.stop());

async function expectAllWell(): Promise<void> {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
}

test('a Confirm that fails for ever is PARKED with one alert and never cancelled, and a retry by hand finishes it', async () => {
  const tcc = { attemptsMax: 3, backoff: { firstMs: 100, factor: 1, capMs: 100 } };
  const back = await down(shop, 'payment');
  const start = await down(shop, 'inventory');
  const [paying] = await shop.start(['payment'], { options: { tcc } });
  await shop.start(['inventory'], { failpoints: 'tcc.second-committed=error' });
  const answer = await checkOut(paying!.url, 'parked');
  expect(answer.status).toBe(201);
  await untilState(sandbox, 'parked', 'PARKED');
  const { orderId } = answer.body;
  expect(await transactionOf(sandbox, 'parked')).toMatchObject({
    attempts: 3,
    last_error: expect.stringContaining('inventory.stock'),
  });
  const { items } = (await shop.get('payment', '/dtx/alerts')).body as {
    items: Array<{ subject: string; closedAt: string | null }>;
  };
  expect(items.filter(({ subject }) => subject === orderId)).toMatchObject([{ closedAt: null }]);
  expect((await shop.get('order', `/orders/${orderId}`)).body).toMatchObject({ status: 'CONFIRMED' });
  // Its reservation is not lost: the audit lists it and finds no violation.
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  expect(report.parked).toMatchObject([{ gid: orderId }]);
  expect(
    (await shop.send('payment', 'POST', `/dtx/transactions/${orderId}/resolve`, { outcome: 'reject', note: 'no' }))
      .status,
  ).toBe(409);
  await down(shop, 'inventory');
  await start();
  expect((await shop.send('payment', 'POST', `/dtx/transactions/${orderId}/retry`, {})).status).toBe(200);
  await untilState(sandbox, 'parked', 'CONFIRMED');
  expect(await new Operator(shop, 'payment').closedAlertsOf(String(orderId))).toHaveLength(1);
  await paying!.stop();
  await back();
  await expectAllWell();
}, 90_000);
