import { afterAll, beforeAll, onTestFailed, test } from 'vitest';
import { expectAuditClean, expectToldTruth, untilSettled } from '../fixtures/purchase-checks.js';
import { Load, openShop } from '../fixtures/purchase-load.js';
import { type AppName, freshSandbox } from '../fixtures/sandbox.js';
import { type House, housesIn, killOne, random, untilAllReady } from '../fixtures/supervised-apps.js';
import { Stack } from '../fixtures/three-apps.js';
import { untilPassed } from '../fixtures/until.js';

const PURCHASES = 1_000;
const CALLERS = 32;
const KILL_EVERY_MS = 3_000;
const KILLS_MIN = 6;
/** Shorter than any resend: whatever a kill leaves behind is found again by a lease or a redelivery. */
const SETTLE_MS = 40_000;
const seed = Number(process.env.TEST_SEED ?? Date.now() % 1_000_000);

let shop: Stack;
const houses: House[] = [];

beforeAll(async () => {
  shop = new Stack(await freshSandbox('random_kills'));
  houses.push(...housesIn(shop.sandbox));
  await untilAllReady(shop, houses);
  shop.instances.push(...houses.map(({ current }) => current!));
  await openShop(shop);
});

afterAll(() => Promise.all(houses.map((house) => house.close())));

test(`${PURCHASES} purchases settle, and every invariant holds, while a random app is killed every 3 s`, async () => {
  onTestFailed(() => console.error(`the kills were those of TEST_SEED=${seed}`));
  const urls = () => houses.filter(({ app, url }) => app === 'order' && url).map(({ url }) => url);
  const load = new Load({ name: 'kills', urls, callers: CALLERS });
  const pick = random(seed);
  const kills: Record<AppName, number> = { order: 0, payment: 0, inventory: 0 };
  const killed = () => kills.order + kills.payment + kills.inventory;
  while (load.told.size < PURCHASES || killed() < KILLS_MIN) {
    await untilPassed(performance.now(), KILL_EVERY_MS);
    const app = await killOne(houses, pick);
    if (app) kills[app]++;
  }
  await load.stop();
  const since = performance.now();
  await untilSettled(shop, SETTLE_MS);
  const settledMs = Math.round(performance.now() - since);
  await untilAllReady(shop, houses);
  await load.replay();
  const ended = await expectToldTruth(shop, load);
  console.log(JSON.stringify({ seed, kills, settledMs, ...ended, ...Object.fromEntries(load.answers) }));
  await expectAuditClean(shop);
}, 300_000);
