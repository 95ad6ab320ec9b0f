/** A release with additive migrations is rolled over two instances of each app, under purchases of all schemes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AppProcess } from '../fixtures/app-process.js';
import { laterBuild } from '../fixtures/later-build.js';
import { expectAuditClean, untilSettled } from '../fixtures/purchase-checks.js';
import { buyer, openShop, sku } from '../fixtures/purchase-load.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const EVERY_MS = 100;
const CALLS: ReadonlyArray<readonly [app: AppName, path: string, accepted: number]> = [
  ['order', '/orders', 202],
  ['order', '/orders/xa', 201],
  ['payment', '/checkouts', 201],
  ['inventory', '/flash-sales', 202],
];
/** The apps of the branch databases first. A newer order app would wait for their migrations. */
const ROLL: readonly AppName[] = ['payment', 'inventory', 'order'];

let sandbox: Sandbox;
let shop: Stack;
const drained = new Set<AppProcess>();
/** Answers by path and status. */
const answers = new Map<string, number>();
const refused: string[] = [];
const underWay = new Map<Promise<void>, AppProcess>();
let count = 0;
let timer: NodeJS.Timeout | undefined;

beforeAll(async () => {
  sandbox = await freshSandbox('xa_rolling_migration');
  shop = new Stack(sandbox);
  await shop.start();
  await shop.start();
  await openShop(shop);
  timer = setInterval(buyNext, EVERY_MS);
}, 120_000);

afterAll(async () => {
  clearInterval(timer);
  await shop?.stop();
});

const serving = (app: AppName) => shop.instances.filter((one) => one.app === app && !drained.has(one) && one.url);

/** As a balancer: any instance that is not drained. An open loop, so a slow answer delays no other call. */
function buyNext(): void {
  const [app, path, accepted] = CALLS[count++ % CALLS.length]!;
  const instances = serving(app);
  const instance = instances[count % instances.length]!;
  const body = JSON.stringify({ buyerId: buyer(count), sku: sku(count), quantity: 1 });
  const headers = { 'content-type': 'application/json', 'idempotency-key': `roll-${count}` };
  const calling = call(`${instance.url}${path}`, { method: 'POST', headers, body })
    .then(({ status, body: answer }) => {
      const name = `${path} ${status}`;
      answers.set(name, (answers.get(name) ?? 0) + 1);
      if (status !== accepted) refused.push(`${name} ${JSON.stringify(answer)}`);
    })
    .catch((error: Error) => void refused.push(`${path} ${error.message}`))
    .finally(() => underWay.delete(calling));
  underWay.set(calling, instance);
}

async function untilCalled(more: number): Promise<void> {
  const goal = count + more;
  await until(`${more} more calls`, () => count >= goal, { withinMs: 60_000 });
}

/** Starts a new instance, then drains and stops an old one, twice. */
async function roll(app: AppName, root: string): Promise<void> {
  for (const old of serving(app)) {
    const [fresh] = await shop.start([app], { root });
    await untilCalled(20);
    drained.add(old);
    await Promise.all([...underWay].filter(([, instance]) => instance === old).map(([calling]) => calling));
    await old.stop();
    expect(fresh!.exited).toBe(false);
    await untilCalled(20);
  }
}

test('no call of any scheme is refused while a release with additive migrations is rolled out', async () => {
  const root = laterBuild('xa-rolling-migration');
  await untilCalled(20);
  for (const app of ROLL) await roll(app, root);
  clearInterval(timer);
  await Promise.all(underWay.keys());
  console.log(JSON.stringify(Object.fromEntries(answers)));
  expect(refused).toEqual([]);
  expect(answers.size).toBe(CALLS.length);
  const migrated = `SELECT component FROM dtx_schema_version WHERE name = 'of a later release' ORDER BY component`;
  expect(await sql(sandbox, 'payment', migrated)).toEqual(
    ['dtx-local-message', 'dtx-tcc', 'dtx-xa-witness', 'payment'].map((component) => ({ component })),
  );
  await untilSettled(shop);
  await expectAuditClean(shop);
}, 300_000);
