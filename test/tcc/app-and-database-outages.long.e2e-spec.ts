import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { AppProcess } from '../fixtures/app-process.js';
import { auditOf, freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { checkOut, down, transactionOf, untilState } from './checkouts-by-key.js';

/**
 * Longer than a lease and a scan with production times, so that the recovery itself has met the outage and not only the
 * caller. The long run waits as long as an operator would.
 */
const OUTAGE_MS = process.env.DTX_TEST_ALL ? 20_000 : 8_000;
const NO_STOCK = { buyerId: 'alice', sku: 'phone', quantity: 1 };
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_outages');
  shop = new Stack(sandbox);
  await shop.start();
  await Promise.all([shop.account('alice', 10_000_000), shop.stock('book', 1_000)]);
});

beforeEach(() => shop.untilReady(shop.of('inventory')));

afterAll(() => shop?.stop());

/** An instance of the payment app beside the one for all other calls. It ends with the test. */
async function payment(options: Parameters<typeof AppProcess.start>[1]): Promise<AppProcess> {
  const instance = await AppProcess.start('payment', options);
  shop.instances.push(instance);
  await shop.untilReady(instance);
  return instance;
}

async function expectAllWell(): Promise<void> {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
}

test('a checkout whose participant is down is cancelled at the deadline, and its caller is answered so', async () => {
  const up = await down(shop, 'inventory');
  // The first answer may be PENDING if the order app has not heard of it in time.
  const answer = await until('the caller is answered', async () => {
    const given = await checkOut(shop.of('payment').url, 'try-down');
    return given.body.reason === 'TIMEOUT' && given;
  });
  expect(answer.status).toBe(409);
  const order = await shop.get('order', `/orders/${answer.body.orderId}`);
  expect(order.body).toMatchObject({ status: 'CANCELLED', reason: 'TIMEOUT' });
  expect((await shop.get('payment', '/accounts/alice')).body).toMatchObject({ frozen: 0 });
  expect((await checkOut(shop.of('payment').url, 'try-down')).body).toEqual(answer.body);
  await up();
  await untilState(sandbox, 'try-down', 'CANCELLED');
  await expectAllWell();
}, 90_000);

test(`a decision is answered, kept and carried out although participants are down for ${OUTAGE_MS / 1_000} s after it`, async () => {
  // Slow enough for the others to be down before it goes on. The caller still waits then, and a Try on a busy machine is in time.
  const options = { tcc: { timeoutMs: 15_000, secondPhaseWaitMs: 15_000 } };
  const slow = await payment({ sandbox, options, failpoints: 'tcc.decided=2*delay(3000)', label: 'decides-slowly' });
  const good = checkOut(slow.url, 'confirm-down');
  const bad = checkOut(slow.url, 'cancel-down', NO_STOCK);
  await until('both are decided', () => slow.hits().length === 2);
  const up = [await down(shop, 'inventory'), await down(shop, 'order')];
  const since = performance.now();
  // The money is captured at once: one participant that is down does not hold back the others.
  expect(await good).toMatchObject({ status: 201, body: { status: 'CONFIRMED' } });
  const { orderId } = (await good).body;
  expect((await shop.get('payment', `/payments/${orderId}`)).body).toMatchObject({ status: 'CAPTURED' });
  // A refusal that the order app has not heard of is not answered, because its order is still PENDING there.
  expect(await bad).toMatchObject({ status: 202, body: { status: 'PENDING' } });
  await sleep(OUTAGE_MS - (performance.now() - since));
  // A missing participant costs no attempt, even for long.
  expect(await transactionOf(sandbox, 'confirm-down')).toMatchObject({ state: 'CONFIRMING', attempts: 0 });
  expect(await transactionOf(sandbox, 'cancel-down')).toMatchObject({ state: 'CANCELLING', attempts: 0 });
  await Promise.all(up.map((start) => start()));
  await Promise.all([
    untilState(sandbox, 'confirm-down', 'CONFIRMED'),
    untilState(sandbox, 'cancel-down', 'CANCELLED'),
  ]);
  expect((await shop.get('order', `/orders/${orderId}`)).body).toEqual((await good).body);
  const later = await checkOut(shop.of('payment').url, 'cancel-down', NO_STOCK);
  expect([later.status, later.body.reason, later.body.orderId]).toEqual([
    409,
    'OUT_OF_STOCK',
    (await bad).body.orderId,
  ]);
  await slow.stop();
  await expectAllWell();
}, 120_000);

/** Calls `then` with the bytes of the COMMIT of the decision, before they are sent on. */
function atDecision(proxy: TcpProxy, then: () => void): void {
  let isDeciding = false;
  const stop = proxy.onBytes('to-server', (chunk) => {
    isDeciding ||= chunk.includes(`'CONFIRMING'`);
    if (!isDeciding || !chunk.includes('COMMIT')) return;
    stop();
    then();
  });
}

test.each([
  ['with the answer to its decision', 'answer'],
  ['before its second phase', 'call'],
] as const)(
  'the caller of an initiator that loses its database %s is answered in time, and the decision stands',
  async (_, lost) => {
    const proxy = await TcpProxy.start(sandbox.databases.payment);
    // In the second case it is alone, and recovers by itself when its database is back.
    const back = lost === 'call' ? await down(shop, 'payment') : () => {};
    const cut = await payment({ sandbox, env: { DTX_DATABASE_URL: proxy.url }, label: `cut-off-${lost}` });
    let isSeen = false;
    atDecision(proxy, () => {
      // In the first case COMMIT still arrives. Then the line is dead, without a notice to either side.
      if (lost === 'answer') {
        proxy.blackHole('to-client');
        isSeen = true;
        return;
      }
      const stop = proxy.onBytes('to-client', () => {
        stop();
        setImmediate(() => {
          proxy.cut();
          isSeen = true;
        });
      });
    });
    const since = performance.now();
    const called = checkOut(cut.url, `lost-${lost}`);
    await until('the line is lost', () => isSeen);
    const answer = await called;
    expect([201, 202]).toContain(answer.status);
    expect(performance.now() - since).toBeLessThan(15_000);
    if (lost === 'answer') await untilState(sandbox, `lost-${lost}`, 'CONFIRMED');
    proxy.cut();
    await sleep(2_000);
    proxy.heal();
    await untilState(sandbox, `lost-${lost}`, 'CONFIRMED');
    const told = await until('the same instance answers it, too', async () => {
      const again = await checkOut(cut.url, `lost-${lost}`);
      return again.status === 201 && again;
    });
    expect((await shop.get('order', `/orders/${told.body.orderId}`)).body).toEqual(told.body);
    await back();
    await cut.stop();
    await proxy.close();
    await expectAllWell();
  },
  90_000,
);
