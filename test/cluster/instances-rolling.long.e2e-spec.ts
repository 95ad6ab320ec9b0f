import { afterAll, beforeAll, expect, test } from 'vitest';
import { AppProcess } from '../fixtures/app-process.js';
import { DrainingBalancer } from '../fixtures/draining-balancer.js';
import { OpenLoopPurchases, untrueAnswers } from '../fixtures/open-loop-purchases.js';
import { expectAuditClean, untilSettled } from '../fixtures/purchase-checks.js';
import { openShop } from '../fixtures/purchase-load.js';
import { type AppName, freshSandbox } from '../fixtures/sandbox.js';
import { APPS, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const INSTANCES = 3;
/** What an app allows itself for a stop, and a little for a busy machine. */
const STOP_MS = 17_000;

let shop: Stack;
let balancers: Record<AppName, DrainingBalancer>;
let load: OpenLoopPurchases | undefined;
const instancesOf = (app: AppName) => shop.instances.filter((one) => one.app === app);

beforeAll(async () => {
  shop = new Stack(await freshSandbox('instances_rolling'));
  for (let n = 0; n < INSTANCES; n++) await shop.start();
  await openShop(shop);
  const started = APPS.map(async (app) => [app, await DrainingBalancer.start(() => instancesOf(app))] as const);
  balancers = Object.fromEntries(await Promise.all(started)) as typeof balancers;
}, 180_000);

afterAll(async () => {
  await load?.stop();
  await Promise.all(Object.values(balancers ?? {}).map((balancer) => balancer.close()));
  await shop?.stop();
});

/** Starts a new instance, and stops the old one once the balancer uses the new one. */
async function replace(old: AppProcess): Promise<void> {
  const { app } = old;
  const fresh = AppProcess.spawn(app, { sandbox: shop.sandbox });
  shop.instances.push(fresh);
  await fresh.untilListening();
  await until(`the balancer uses the new ${app}`, () => balancers[app].uses(fresh));
  old.signal('SIGTERM');
  await old.untilExited(STOP_MS);
  expect([app, old.child.exitCode]).toEqual([app, 0]);
}

test('no call is lost or refused while all instances of all apps are replaced at 20 purchases per second', async () => {
  load = new OpenLoopPurchases({ name: 'rolling', perSecond: 20, urlOf: (app) => balancers[app].url });
  const old = [...shop.instances];
  expect(old).toHaveLength(INSTANCES * APPS.length);
  for (const one of old) await replace(one);
  await load.stop();
  console.log(`${load.all.length} purchases, answers ${JSON.stringify(load.answers)}`);
  expect(load.all.length).toBeGreaterThan(200);
  expect(load.wrong).toEqual([]);
  // A reset or refused connection would be counted by its code.
  expect(Object.keys(load.answers).filter((answer) => !['201', '202', '503'].includes(answer))).toEqual([]);
  expect(load.all.filter(({ told }) => told?.status === 'CANCELLED')).toEqual([]);
  await untilSettled(shop);
  expect(await untrueAnswers(shop.sandbox, load)).toEqual([]);
  await expectAuditClean(shop);
}, 240_000);
