import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { type AppName, freshSandbox } from '../fixtures/sandbox.js';
import { type House, housesIn, killOne, random, untilAllReady } from '../fixtures/supervised-apps.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { Checkouts, lies } from './checkout-callers.js';

const CHECKOUTS = 1_000;
const CALLERS = 32;
/** One after each tenth of the checkouts. The initiator more often than the others: it has more places to die at. */
const KILLS: readonly AppName[] = [
  'payment',
  'order',
  'inventory',
  'payment',
  'order',
  'payment',
  'inventory',
  'payment',
  'order',
];
/** Many buyers and skus: on one hot row all checkouts would wait for each other, and so would the test. */
const SPREAD = 20;
const seed = Number(process.env.TEST_SEED ?? Date.now() % 1_000_000);
const sku = (n: number) => `item-${String(1 + (n % SPREAD)).padStart(4, '0')}`;

let shop: Stack;
const houses: House[] = [];

/** Every other checkout must fail: without enough money, without goods, or without an account. */
const bodyOf = (n: number) => {
  if (n % 2 === 0) return { buyerId: `buyer-${n % SPREAD}`, sku: sku(n), quantity: 1 + (n % 3) };
  if (n % 6 === 1) return { buyerId: 'bob', sku: sku(n), quantity: 1 };
  if (n % 6 === 3) return { buyerId: `buyer-${n % SPREAD}`, sku: 'phone', quantity: 1 };
  return { buyerId: 'stranger', sku: sku(n), quantity: 1 };
};

beforeAll(async () => {
  shop = new Stack(await freshSandbox('tcc_kills'));
  houses.push(...housesIn(shop.sandbox));
  await untilAllReady(shop, houses);
  shop.instances.push(...houses.map(({ current }) => current!));
  const each = Array.from({ length: SPREAD }, (_, n) => n);
  await Promise.all([shop.account('bob', 1), ...each.map((n) => shop.account(`buyer-${n}`, 1_000_000))]);
  await Promise.all(each.map((n) => shop.stock(sku(n), 100_000)));
});

afterAll(() => Promise.all(houses.map((house) => house.close())));

test(`${CHECKOUTS} checkouts while apps are killed at random are answered with the outcome on disk`, async () => {
  onTestFailed(() => console.error(`the kills were those of TEST_SEED=${seed}`));
  const urlsOf = (app: AppName) => () => houses.filter((one) => one.app === app && one.url).map(({ url }) => url);
  const load = new Checkouts(
    { name: 'kills', callers: CALLERS, total: CHECKOUTS, bodyOf, urls: urlsOf('payment') },
    urlsOf('order'),
  );
  const pick = random(seed);
  const running = load.run();
  for (const [n, app] of KILLS.entries()) {
    const goal = ((n + 1) * CHECKOUTS) / (KILLS.length + 1);
    await until(`${goal} are answered`, () => load.told.size >= goal, { withinMs: 120_000 });
    await until(`one of ${app} is killed`, () => killOne(houses, pick, (house) => house.app === app));
  }
  await running;
  await untilAllReady(shop, houses);
  await expectAuditClean(shop);
  await load.replay();
  const outcomes = [...load.told.values()].filter(({ status }) => status === 'CONFIRMED').length;
  const told = { CONFIRMED: outcomes, CANCELLED: load.told.size - outcomes };
  console.log(JSON.stringify({ seed, told, answers: Object.fromEntries(load.answers) }));
  expect(load.wrong).toEqual([]);
  expect(await lies(shop.sandbox, load)).toEqual([]);
  expect(Math.min(told.CONFIRMED, told.CANCELLED)).toBeGreaterThan(CHECKOUTS / 4);
}, 300_000);
