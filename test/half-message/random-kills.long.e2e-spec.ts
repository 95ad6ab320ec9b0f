import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { freshSandbox, sql } from '../fixtures/sandbox.js';
import { type House, housesIn, killOne, random, untilAllReady } from '../fixtures/supervised-apps.js';
import { Stack } from '../fixtures/three-apps.js';
import { until, untilPassed } from '../fixtures/until.js';
import { FlashSales } from './flash-sale-callers.js';
import { isSent, verdicts } from './sale-and-verdict.js';

const SALES = 1_000;
const CALLERS = 64;
const STOCK = 500;
const KILL_EVERY_MS = 1_500;
const KILLS = 10;
const SKU = 'item-0001';
const seed = Number(process.env.TEST_SEED ?? Date.now() % 1_000_000);

let shop: Stack;
let houses: House[] = [];

beforeAll(async () => {
  shop = new Stack(await freshSandbox('half_kills'));
  houses = housesIn(shop.sandbox);
  await untilAllReady(shop, houses);
  shop.instances.push(...houses.map(({ current }) => current!));
  await Promise.all([shop.account('alice', 1_000_000_000), shop.stock(SKU, STOCK)]);
});

afterAll(() => Promise.all(houses.map((house) => house.close())));

test(`${SALES} flash sales by ${CALLERS} callers sell a stock of ${STOCK} once while a random app is killed every ${KILL_EVERY_MS} ms`, async () => {
  onTestFailed(() => console.error(`the kills were those of TEST_SEED=${seed}`));
  const sellers = () => houses.filter(({ app, url }) => app === 'inventory' && url).map(({ url }) => url);
  const sales = new FlashSales({
    name: 'rush',
    callers: CALLERS,
    total: SALES,
    bodyOf: () => ({ buyerId: 'alice', sku: SKU, quantity: 1 }),
    urls: sellers,
  });
  const pick = random(seed);
  const kills: Record<string, number> = {};
  let isOver = false;
  const since = performance.now();
  const rush = sales.run().finally(() => {
    isOver = true;
  });
  let duringRush = 0;
  for (let killed = 0; killed < KILLS; await untilPassed(performance.now(), KILL_EVERY_MS)) {
    // Every other one is a seller: the rush itself is short.
    const app = await killOne(houses, pick, ({ app }) => killed % 2 === 1 || app === 'inventory');
    if (!app) continue;
    kills[app] = (kills[app] ?? 0) + 1;
    killed++;
    if (!isOver) duringRush++;
  }
  await rush;
  const rushMs = Math.round(performance.now() - since);
  expect(duringRush).toBeGreaterThan(0);
  await untilAllReady(shop, houses);
  await sales.replay();
  const accepted = sales.ids(202);
  const untilSettled = performance.now();
  const open = async () => {
    const query = `SELECT COUNT(*) AS n FROM orders WHERE status = 'CONFIRMED'`;
    const [{ n } = { n: 0 }] = await sql<{ n: number }>(shop.sandbox, 'order', query);
    if (Number(n) === accepted.length) return true;
    throw new Error(`${n} of ${accepted.length} are confirmed`);
  };
  await until('every accepted sale is confirmed', open, { withinMs: 60_000, everyMs: 200 });
  const settledMs = Math.round(performance.now() - untilSettled);
  console.log(JSON.stringify({ seed, kills, duringRush, rushMs, settledMs, ...Object.fromEntries(sales.answers) }));
  expect(sales.wrong).toEqual([]);
  expect(sales.told.size).toBe(SALES);
  expect([accepted.length, new Set(accepted).size]).toEqual([STOCK, STOCK]);
  const [stock] = await sql(shop.sandbox, 'inventory', 'SELECT available, sold, opening FROM stock WHERE sku = ?', [
    SKU,
  ]);
  expect(stock).toEqual({ available: 0, sold: STOCK, opening: STOCK });
  const orders = await sql<{ id: string }>(shop.sandbox, 'order', 'SELECT order_id AS id FROM orders');
  expect(orders.map(({ id }) => id).sort()).toEqual([...accepted].sort());
  await expectAuditClean(shop);
  expect((await verdicts(shop.sandbox)).filter(isSent)).toHaveLength(STOCK);
}, 300_000);
