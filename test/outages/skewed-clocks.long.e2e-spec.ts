import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { logLines } from '../fixtures/app-logs.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { expectAuditClean, expectToldTruth, untilSettled } from '../fixtures/purchase-checks.js';
import { Load, openShop } from '../fixtures/purchase-load.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const TEN_MINUTES_MS = 600_000;
const LEASE_MS = 5_000; // the default
const PURCHASES = 80;
const PRELOAD = pathToFileURL(join(import.meta.dirname, '..', 'fixtures', 'wrong-clock.mjs')).href;

let sandbox: Sandbox;
let shop: Stack;
let right: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('outage_clocks');
  right = new Stack(sandbox);
  await right.start();
  await openShop(right);
});

afterAll(() => Promise.all([shop?.stop(), right?.stop()]));

/** A real process whose wall clock is wrong. It notes whenever its scan has claimed a row. */
async function startShifted(app: AppName, shiftMs: number, failpoints = 'local-message.claimed=delay(1)') {
  const env = { NODE_OPTIONS: `--import=${PRELOAD}`, TEST_CLOCK_SHIFT_MS: String(shiftMs) };
  const [started] = (await shop.start([app], { env, failpoints })) as [AppProcess];
  const { timestamp } = logLines(started)[0] as unknown as { timestamp: number };
  expect(Math.abs(timestamp - Date.now() - shiftMs)).toBeLessThan(TEN_MINUTES_MS / 5);
  return started;
}

/** Buys, and waits until all purchases are final. */
async function settle(load: Load): Promise<void> {
  await load.ended();
  const query = `SELECT order_id FROM orders WHERE order_id IN (?) AND status <> 'PENDING'`;
  const final = async () => (await sql(sandbox, 'order', query, [load.orderIds])).length;
  await until('all are final', async () => (await final()) === PURCHASES);
}

const buyAt = (name: string, at: () => AppProcess[]) =>
  new Load({ name, urls: () => at().map(({ url }) => url), callers: 2, total: PURCHASES });

const ordersOf = (stack: Stack) => stack.instances.filter(({ app, exited }) => app === 'order' && !exited);

test('purchases settle without a scan, and nothing is sent twice, while clocks are ten minutes fast and slow', async () => {
  await settle(buyAt('right', () => ordersOf(right)));
  await untilSettled(right);
  await right.stop();

  shop = new Stack(sandbox);
  const shifted = await Promise.all([
    startShifted('order', TEN_MINUTES_MS),
    startShifted('order', -TEN_MINUTES_MS),
    startShifted('inventory', -TEN_MINUTES_MS),
    startShifted('payment', TEN_MINUTES_MS),
  ]);
  const load = buyAt('shifted', () => ordersOf(shop));
  await settle(load);
  await untilSettled(shop);
  // No instance took another's lease for expired, and nothing was sent more than once. A purchase that had waited for a
  // scan would have been claimed by it, which the failpoint notes.
  expect(shifted.flatMap((instance) => instance.hits())).toEqual([]);
  const sentTwice = 'SELECT id FROM dtx_outbox WHERE attempts > 1';
  for (const app of ['order', 'inventory', 'payment'] as const) expect(await sql(sandbox, app, sentTwice)).toEqual([]);
  await expectToldTruth(shop, load);
}, 120_000);

test.each([
  ['fast', 'slow', TEN_MINUTES_MS],
  ['slow', 'fast', -TEN_MINUTES_MS],
])(
  'an instance whose clock is %s dies, and one whose clock is %s takes over after the lease',
  async (_, __, shiftMs) => {
    const rescuer = ordersOf(shop).find((instance) => shiftOf(instance) === -shiftMs)!;
    const others = ordersOf(shop).filter((instance) => instance !== rescuer);
    await Promise.all(others.map((instance) => instance.stop()));
    const hitsBefore = rescuer.hits().length;
    const victim = await startShifted('order', shiftMs, 'local-message.committed=crash');

    const key = `dies-${shiftMs}`;
    const buy = (url: string) =>
      fetch(`${url}/orders`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': key },
        body: JSON.stringify({ buyerId: 'buyer-0', sku: 'item-0001', quantity: 1 }),
      });
    await expect(buy(victim.url)).rejects.toThrow();
    await victim.untilExited();
    const { orderId } = (await (await buy(rescuer.url)).json()) as { orderId: string };
    expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
    expect(rescuer.hits().length).toBe(hitsBefore + 1);
    // By the database's clock. The row was leased to the victim when it was made.
    const query = `SELECT created_at + INTERVAL ? MICROSECOND <= sent_at AS isAfterLease FROM dtx_outbox
      WHERE gid = ? AND contract = 'order.placed'`;
    expect(await sql(sandbox, 'order', query, [LEASE_MS * 1_000, orderId])).toMatchObject([{ isAfterLease: 1 }]);
    await startShifted('order', shiftMs);
  },
  60_000,
);

const shiftOf = (instance: AppProcess) =>
  Math.sign((logLines(instance)[0] as unknown as { timestamp: number }).timestamp - Date.now()) * TEN_MINUTES_MS;

test('every invariant holds after the tests', () => expectAuditClean(shop));
