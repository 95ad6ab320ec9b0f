import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createSandbox } from '../../tools/src/sandbox/sandbox.js';
import { control, down, up } from '../../tools/src/servers/index.js';
import { AppProcess } from '../fixtures/app-process.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import { type House, housesIn, killOne, random, untilAllReady } from '../fixtures/supervised-apps.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { decisions, expectNothingLeft } from './branches-and-decisions.js';
import { buy } from './xa-purchase.js';

/** Own servers, because all other tests need theirs up. The apps run with production times. */
const SET = 'xakill';
const DATABASES: readonly AppName[] = ['order', 'payment', 'inventory'];
const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };
const RECOVERED_WITHIN_MS = 10_000;
const PURCHASES = 500;
const CALLERS = 16;
const SPREAD = 20;
const servers = control(SET);
const seed = Number(process.env.TEST_SEED ?? Date.now() % 1_000_000);
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await createSandbox(await up(SET, { say: () => {} }), SET);
  shop = new Stack(sandbox);
  await shop.start();
  const each = Array.from({ length: SPREAD }, (_, n) => n);
  await Promise.all([shop.account('alice', 1_000_000_000), shop.stock('book', 100_000)]);
  await Promise.all(each.flatMap((n) => [shop.account(`buyer-${n}`, 1_000_000_000), shop.stock(sku(n), 100_000)]));
}, 300_000);

afterAll(async () => {
  await shop?.stop();
  await down(SET, { say: () => {}, wipe: true });
}, 120_000);

beforeEach((context) => {
  context.skip(!servers.order.supported, 'the servers were given: not ours to stop');
});

const sku = (n: number) => `item-${String(1 + (n % SPREAD)).padStart(4, '0')}`;

async function buyUntilTold(urls: () => string[], key: string, body: object, wrong: string[]): Promise<string> {
  return until(
    `${key} is answered`,
    async () => {
      const [url] = urls().sort(() => Math.random() - 0.5);
      if (!url) return false;
      const { status, body: given, headers } = await buy(url, key, body);
      if (status === 201) return String(given.orderId);
      const isFair = [409, 503].includes(status) && Number(headers.get('retry-after')) > 0;
      if (!isFair) wrong.push(`${key}: ${status} ${JSON.stringify(given)}`);
      return false;
    },
    { withinMs: 120_000, everyMs: 100 },
  );
}

const POINTS = [
  ['xa.prepared-all', 'before the decision'],
  ['xa.decided', 'after the decision'],
] as const;

for (const [point, when] of POINTS) {
  test.each(DATABASES)(
    `a purchase survives kill -9 of the database server of %s after every PREPARE, ${when}`,
    async (name) => {
      const slow = await AppProcess.start('order', {
        sandbox,
        failpoints: `${point}=1*delay(1500)`,
        label: `slow-${point}-${name}`,
      });
      shop.instances.push(slow);
      const key = `${point}-${name}`;
      const call = until('it is open', async () => {
        const given = await buy(slow.url, key, BOOK);
        return (slow.hits().length > 0 || given.status === 201) && given;
      }).catch(() => null);
      await until('all is prepared', () => slow.hits().length > 0);
      await servers[name]!.kill();
      await call;
      await servers[name]!.start();
      const since = performance.now();
      await expectNothingLeft(sandbox, 60_000);
      const ms = Math.round(performance.now() - since);
      console.log(`${key}: nothing in doubt ${ms} ms after the server was back`);
      expect(ms).toBeLessThan(RECOVERED_WITHIN_MS);
      const wrong: string[] = [];
      const orderId = await buyUntilTold(() => [shop.of('order').url], key, BOOK, wrong);
      expect(wrong).toEqual([]);
      expect((await decisions(sandbox, orderId))[0]).toMatchObject({ decision: 'COMMIT' });
      await slow.stop();
      await expectAuditClean(shop);
    },
    240_000,
  );
}

test('a live process resolves the prepared branches of a dead one within 10 s, with production times', async () => {
  const dying = await AppProcess.start('order', { sandbox, failpoints: 'xa.prepared-all=crash', label: 'dying' });
  await until('it dies', async () => {
    await buy(dying.url, undefined, BOOK).catch(() => null);
    return dying.exited;
  });
  const since = performance.now();
  await expectNothingLeft(sandbox);
  const ms = Math.round(performance.now() - since);
  console.log(`resolved ${ms} ms after the death`);
  expect(ms).toBeLessThan(RECOVERED_WITHIN_MS);
}, 120_000);

test(`${PURCHASES} purchases at concurrency ${CALLERS} take effect once while apps and database servers are killed at random`, async () => {
  await Promise.all(shop.instances.map((instance) => instance.stop()));
  const houses: House[] = housesIn(sandbox);
  await untilAllReady(shop, houses);
  const pick = random(seed);
  const urls = () => houses.filter(({ app, url }) => app === 'order' && url).map(({ url }) => url);
  const told = new Map<string, string>();
  const wrong: string[] = [];
  let next = 0;
  const caller = async () => {
    while (next < PURCHASES) {
      const n = next++;
      const body = { buyerId: `buyer-${n % SPREAD}`, sku: sku(n), quantity: 1 + (n % 3) };
      told.set(`load-${n}`, await buyUntilTold(urls, `load-${n}`, body, wrong));
    }
  };
  const running = Promise.all(Array.from({ length: CALLERS }, caller));
  for (let kill = 1; kill <= 9; kill++) {
    await until(`${kill * 50} are answered`, () => told.size >= kill * 50, { withinMs: 180_000 });
    if (kill % 3 !== 0)
      await until('an order app is killed', () => killOne(houses, pick, ({ app }) => app === 'order'));
    else {
      const name = DATABASES[Math.floor(pick() * DATABASES.length)]!;
      await servers[name]!.kill();
      await servers[name]!.start();
    }
  }
  await running;
  await untilAllReady(shop, houses);
  await expectNothingLeft(sandbox, 60_000);
  await expectAuditClean(shop);
  const rows = await sql<{ id: string; status: string }>(
    sandbox,
    'order',
    `SELECT order_id AS id, status FROM orders WHERE scheme = 'xa'`,
  );
  const statuses = new Map(rows.map(({ id, status }) => [id, status]));
  console.log(JSON.stringify({ seed, told: told.size }));
  expect(wrong).toEqual([]);
  expect([...told.values()].filter((id) => statuses.get(id) !== 'CONFIRMED')).toEqual([]);
  expect(new Set(told.values()).size).toBe(PURCHASES);
  await Promise.all(houses.map((house) => house.close()));
}, 900_000);
