import { afterAll, beforeAll, expect, test } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { isSent, sell, verdicts } from './sale-and-verdict.js';

const SALES = process.env.DTX_TEST_ALL ? 1_000 : 400;
const CALLERS = 24;
/** Enough that payments do not wait for one row. The race is about verdicts. */
const BUYERS = Array.from({ length: 12 }, (_, n) => `buyer-${n}`);
/**
 * A copy comes back about as late as the local transaction begins: sooner or later, as it happens. The first instance
 * nearly always wins, and the last one nearly always loses, on a slow machine and on a fast one.
 */
const LEVEL_MS = 120;
const LATE_MS = [90, 125, 160, 220];
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('half_race');
  shop = new Stack(sandbox, {
    options: { ...SHORT_TIMES, halfMessage: { ...SHORT_TIMES.halfMessage, levelsMs: [LEVEL_MS, 500, 1_000, 2_000] } },
  });
  await Promise.all([
    shop.start(['order', 'payment']),
    ...LATE_MS.map((ms) => shop.start(['inventory'], { failpoints: `half-message.prepared=delay(${ms})` })),
  ]);
  await Promise.all([...BUYERS.map((buyer) => shop.account(buyer, 1_000_000_000)), shop.stock('item-0001', 100_000)]);
});

afterAll(async () => {
  await expectAuditClean(shop);
  await shop.stop();
});

test(`${SALES} verdicts that race with their checks at four instances have one winner each, known to both sides`, async () => {
  const sellers = shop.instances.filter(({ app }) => app === 'inventory');
  const told = new Map<string, number>();
  let next = 0;
  const caller = async () => {
    while (next < SALES) {
      const n = next++;
      const seller = sellers[n % sellers.length] as AppProcess;
      const buyerId = BUYERS[n % BUYERS.length]!;
      const { status } = await sell(seller, `race-${n}`, { buyerId, sku: 'item-0001', quantity: 1 });
      told.set(`race-${n}`, status);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const count = (status: number) => [...told.values()].filter((one) => one === status).length;
  const [accepted, ruledBack] = [count(202), count(503)];
  console.log(JSON.stringify({ accepted, ruledBack }));
  expect(accepted + ruledBack).toBe(SALES);
  // A race needs both sides.
  expect(Math.min(accepted, ruledBack)).toBeGreaterThan(SALES / 50);
  await until('every message is sent', async () =>
    (await verdicts(sandbox)).every(({ state }) => state !== 'COMMITTED'),
  );
  const rows = await verdicts(sandbox);
  expect(rows.filter(isSent)).toHaveLength(accepted);
  expect(rows.filter(({ state }) => state === 'ROLLED_BACK')).toHaveLength(ruledBack);
  const keys = await sql<{ k: string; gid: string }>(
    sandbox,
    'inventory',
    'SELECT CAST(idempotency_key AS CHAR) AS k, gid FROM dtx_idempotency',
  );
  expect(keys.map(({ k }) => told.get(k)).filter((status) => status !== 202)).toEqual([]);
  const gids = keys.map(({ gid }) => gid).sort();
  expect(
    rows
      .filter(isSent)
      .map(({ gid }) => gid)
      .sort(),
  ).toEqual(gids);
  const taken = await sql<{ id: string }>(
    sandbox,
    'inventory',
    'SELECT order_id AS id FROM stock_take ORDER BY order_id',
  );
  expect(taken.map(({ id }) => id)).toEqual(gids);
}, 240_000);
