import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AppProcess } from '../fixtures/app-process.js';
import { expectAuditClean, expectToldTruth, untilSettled } from '../fixtures/purchase-checks.js';
import { Load, openShop, untilBought } from '../fixtures/purchase-load.js';
import { type AppName, freshSandbox } from '../fixtures/sandbox.js';
import { APPS, Stack } from '../fixtures/three-apps.js';

/** What an app allows itself, and a little for a busy machine. */
const STOP_MS = 15_000 + 2_000;
/** Shorter than any resend: a message that a stop has left behind would be found. */
const SETTLE_MS = 40_000;

let shop: Stack;
let load: Load;
const stopped = new Set<AppProcess>();
const running = (app: AppName) => shop.instances.filter((one) => one.app === app && !stopped.has(one) && !one.exited);

beforeAll(async () => {
  shop = new Stack(await freshSandbox('outage_stops'));
  await Promise.all([shop.start(), shop.start()]);
  await openShop(shop);
  load = new Load({ name: 'stops', urls: () => running('order').map(({ url }) => url), callers: 4, restMs: 50 });
});

afterAll(async () => {
  await load?.stop();
  await shop?.stop();
});

/** Stops one instance as an operator does. Answers how long it took. */
async function stopPolitely(instance: AppProcess): Promise<number> {
  const since = performance.now();
  stopped.add(instance);
  instance.signal('SIGTERM');
  await instance.untilExited(STOP_MS);
  const tookMs = Math.round(performance.now() - since);
  console.log(`${instance.app} stopped in ${tookMs} ms`);
  expect([instance.child.exitCode, instance.child.signalCode]).toEqual([0, null]);
  expect(instance.log()).not.toMatch(/not stopped after|stop failed/);
  return tookMs;
}

describe('a graceful stop under load ends with 0 in its time', () => {
  test.each(APPS)('purchases go on while one of two instances of %s stops', async (app) => {
    expect(running(app)).toHaveLength(2);
    await untilBought(load, 20);
    await stopPolitely(running(app)[0]!);
    await untilBought(load, 20);
  });

  test.each(APPS)('messages wait for the next start when the last instance of %s stops', async (app) => {
    expect(running(app)).toHaveLength(1);
    await untilBought(load, app === 'order' ? 20 : 1);
    await stopPolitely(running(app)[0]!);
    expect(running(app)).toHaveLength(0);
    await shop.start([app]);
    await untilBought(load, 20);
  });
});

test('no purchase is lost or waits for a resend when all apps stop at once and start again', async () => {
  await untilBought(load, 20);
  await Promise.all(APPS.flatMap(running).map(stopPolitely));
  const accepted = load.told.size;
  await shop.start();
  await untilBought(load, 20);
  await load.stop();
  await untilSettled(shop, SETTLE_MS);
  await load.replay();
  const ended = await expectToldTruth(shop, load);
  expect(load.told.size).toBeGreaterThan(accepted);
  console.log(JSON.stringify({ ...ended, ...Object.fromEntries(load.answers) }));
  expect(load.refused).toBeGreaterThan(0); // at moments no order app was running
  await expectAuditClean(shop);
}, 120_000);
