// At full load an answer costs less than the settlement behind it. Without the pace of `POST /orders` two thirds of 3,000
// purchases were open at the same time.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buyer, Load, openShop, sku } from '../fixtures/purchase-load.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';

const CALLERS = 32;
const PURCHASES = 3_000;
/** Far above the calls that wait and the purchases in work, far below the backlog of answers that run ahead. */
const OPEN_MAX = 200;
const LOOK_MS = 50;

let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('answers_at_pace');
  shop = new Stack(sandbox);
  await shop.start();
  await openShop(shop);
});

afterAll(() => shop?.stop());

async function openOrders(): Promise<number> {
  const [row] = await sql<{ n: number }>(sandbox, 'order', `SELECT COUNT(*) AS n FROM orders WHERE status = 'PENDING'`);
  return Number(row!.n);
}

test('purchases of callers that never rest are settled as fast as they are answered', async () => {
  const load = new Load({
    name: 'pace',
    callers: CALLERS,
    total: PURCHASES,
    bodyOf: (n) => ({ buyerId: buyer(n), sku: sku(n), quantity: 1 }),
    urls: () => [shop.of('order').url],
  });
  let isOver = false;
  let most = 0;
  const watching = (async () => {
    for (; !isOver; await sleep(LOOK_MS)) most = Math.max(most, await openOrders());
  })();
  await load.ended();
  isOver = true;
  await watching;
  expect(load.orderIds).toHaveLength(PURCHASES);
  expect(most).toBeLessThan(OPEN_MAX);
  expect((await auditOf(sandbox, 60_000)).checks.flatMap(({ violations }) => violations)).toEqual([]);
}, 180_000);
