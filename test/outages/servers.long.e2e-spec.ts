import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createSandbox } from '../../tools/src/sandbox/sandbox.js';
import { control, down, up } from '../../tools/src/servers/index.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { expectAuditClean, expectToldTruth, untilSettled } from '../fixtures/purchase-checks.js';
import { Load, openShop, untilBought } from '../fixtures/purchase-load.js';
import { type AppName, sql } from '../fixtures/sandbox.js';
import { APPS, call, Stack } from '../fixtures/three-apps.js';
import { until, untilPassed } from '../fixtures/until.js';

/** Servers of their own, since all other tests need theirs up; the apps run with production times. */
const SET = 'outage';
const OUTAGE_MS = 20_000;
const servers = control(SET);
let shop: Stack;

beforeAll(async () => {
  const sandbox = await createSandbox(await up(SET, { say: () => {} }), SET);
  shop = new Stack(sandbox);
  await shop.start();
  await openShop(shop);
}, 300_000);

afterAll(async () => {
  await shop?.stop();
  await down(SET, { say: () => {}, wipe: true });
}, 120_000);

beforeEach((context) => {
  context.skip(!servers.rabbitmq.supported || !servers.order.supported, 'the servers were given: not ours to stop');
});

const COUNTED = 'dtx_inbox WHERE attempts > 0';
const startLoad = (name: string) => new Load({ name, urls: () => [shop.of('order').url], callers: 4, restMs: 250 });

const health = async (app: AppName) => {
  const { status, body } = await call(`${shop.of(app).url}/health/ready`);
  return status === 200 ? (body.degraded as string[]).join() : `${status}`;
};

/** What every app says of itself, each on its own: the ones that are not named are well. */
const untilHealth = (expected: Partial<Record<AppName, string>>, withinMs = 30_000) =>
  until(
    `the apps say ${JSON.stringify(expected)}`,
    async () => {
      const said = await Promise.all(APPS.map(health));
      return APPS.every((app, index) => said[index] === (expected[app] ?? ''));
    },
    { withinMs },
  );

const everywhere = (said: string) => Object.fromEntries(APPS.map((app) => [app, said]));

async function count(app: AppName, query: string): Promise<number> {
  const [row] = await sql<{ n: number }>(shop.sandbox, app, `SELECT COUNT(*) AS n FROM ${query}`);
  return Number(row!.n);
}

/** No app was restarted, and all is settled. */
async function expectRecovery(load: Load, pids: unknown[]): Promise<void> {
  await untilHealth({}, 60_000);
  await untilBought(load, 20);
  await load.stop();
  await untilSettled(shop);
  await load.replay();
  await expectToldTruth(shop, load);
  expect(shop.instances.map((one) => !one.exited && one.child.pid)).toEqual(pids);
}

const pidsNow = () => shop.instances.map((one) => one.child.pid);

test('purchases are accepted while the broker is down for 20 s and settle after it', async () => {
  const [pids, load] = [pidsNow(), startLoad('broker-killed')];
  await untilBought(load, 20);
  await servers.rabbitmq.kill();
  const since = performance.now();
  await untilHealth(everywhere('rabbitmq'));
  await untilBought(load, 50);
  const pending = await count('order', `orders WHERE status = 'PENDING'`);
  expect(pending).toBeGreaterThan(40);
  await untilPassed(since, OUTAGE_MS);
  expect(await count('order', `orders WHERE status = 'PENDING'`)).toBeGreaterThan(pending);
  await servers.rabbitmq.start();
  await expectRecovery(load, pids);
  expect([...load.answers.keys()]).toEqual(['202']);
}, 180_000);

test('the apps detect a hanging broker, go on accepting purchases, and settle them when it continues', async () => {
  const [pids, load] = [pidsNow(), startLoad('broker-paused')];
  await untilBought(load, 20);
  await servers.rabbitmq.pause();
  try {
    const since = performance.now();
    await untilBought(load, 50);
    await untilHealth(everywhere('rabbitmq'), 60_000);
    console.log(`the heartbeat was missed after ${Math.round(performance.now() - since)} ms`);
    expect(await count('order', `orders WHERE status = 'PENDING'`)).toBeGreaterThan(40);
  } finally {
    await servers.rabbitmq.resume();
  }
  await expectRecovery(load, pids);
  expect([...load.answers.keys()]).toEqual(['202']);
}, 180_000);

test('purchases are accepted while the payment database is down for 20 s, and settle after it', async () => {
  const [pids, load] = [pidsNow(), startLoad('payment-db')];
  const countedBefore = await count('payment', COUNTED);
  await untilBought(load, 20);
  await servers.payment.stop();
  const since = performance.now();
  await untilHealth({ payment: '503' });
  expectProblem(await shop.send('payment', 'PUT', '/accounts/alice', { balance: 1 }), 503);
  await untilBought(load, 50);
  await untilPassed(since, OUTAGE_MS);
  expect(await count('order', `orders WHERE status = 'PENDING'`)).toBeGreaterThan(40);
  await servers.payment.start();
  await expectRecovery(load, pids);
  expect([...load.answers.keys()]).toEqual(['202']);
  // An unavailable database does not count as an attempt: no delivery was held for a retry or parked. Those that the
  // broker of the tests above delivered twice count one.
  expect(await count('payment', COUNTED)).toBe(countedBefore);
}, 180_000);

test('purchases answer 503 with Retry-After while the order database is down, and each key finds its one purchase after it', async () => {
  const [pids, load] = [pidsNow(), startLoad('order-db')];
  await untilBought(load, 20);
  await servers.order.kill();
  await untilHealth({ order: '503' });
  const answer = await shop.send('order', 'POST', '/orders', { buyerId: 'alice', sku: 'book', quantity: 1 });
  expectProblem(answer, 503);
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  await until('callers are told to come back', () => (load.answers.get('503') ?? 0) >= 20);
  await servers.order.start();
  await expectRecovery(load, pids);
  expect([...load.answers.keys()].sort()).toEqual(['202', '503']);
}, 180_000);

test('every invariant holds after the tests', () => expectAuditClean(shop));
