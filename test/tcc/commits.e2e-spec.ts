import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { control, down, up } from '../../scripts/infra/index.mjs';
import { createWorld } from '../../scripts/infra/world.mjs';
import { expectAuditClean } from '../support/load.js';
import { APPS, Stack } from '../support/stack.js';
import { until } from '../support/until.js';
import { servers, sql, type World } from '../support/world.js';

/** Database servers of their own: what they count is then only ours. The broker counts nothing and may be shared. */
const SET = 'count';
const CHECKOUTS = 50;
const COMMITS_MAX = 8;
const NEVER_MS = 3_600_000;
/** No scan and no purge of its own accord, and the final marks, which are batched and do not count, come later. */
const STILL = {
  core: { scanIntervalMs: NEVER_MS, purgeIntervalMs: NEVER_MS },
  tcc: { markDelayMs: NEVER_MS },
};
let shop: Stack;

beforeAll(async () => {
  const { databases } = await up(SET, { say: () => {}, only: ['databases'] });
  const world: unknown = await createWorld({ ...servers(), databases }, SET);
  shop = new Stack(world as World, { options: STILL });
  for (const app of APPS) await sql(shop.world, app, `SET GLOBAL log_output = 'TABLE', GLOBAL general_log = ON`);
  await shop.start();
  await Promise.all([shop.account('alice', 10_000_000), shop.stock('book', 1_000)]);
}, 300_000);

afterAll(async () => {
  await shop?.stop();
  await down(SET, { say: () => {}, wipe: true });
}, 120_000);

beforeEach((context) => {
  context.skip(!control(SET).payment.supported, 'the servers were given: others use them, too');
});

/** Commits of every database since its server was told to write down all statements. */
async function commits(): Promise<number[]> {
  const query = `SELECT thread_id AS thread, CONVERT(argument USING utf8mb4) AS statement FROM mysql.general_log
    WHERE command_type = 'Query'`;
  const logs = await Promise.all(APPS.map((app) => sql<{ thread: number; statement: string }>(shop.world, app, query)));
  return logs.map(commitsIn);
}

/**
 * Transactions that have changed something, and statements that have without one. InnoDB's own counters would also
 * count what the server does for itself.
 */
function commitsIn(log: Array<{ thread: number; statement: string }>): number {
  const open = new Map<number, { hasWritten: boolean }>();
  let count = 0;
  for (const { thread, statement } of log) {
    const transaction = open.get(thread);
    if (/^(START TRANSACTION|BEGIN)/i.test(statement)) open.set(thread, { hasWritten: false });
    if (/^(INSERT|UPDATE|DELETE|REPLACE)/i.test(statement)) {
      if (transaction) transaction.hasWritten = true;
      else count++;
    }
    if (/^COMMIT/i.test(statement) && transaction?.hasWritten) count++;
    if (/^(COMMIT|ROLLBACK)/i.test(statement)) open.delete(thread);
  }
  return count;
}

/** What the preparation has set in motion (the catalog hears of the stock) is over. */
async function untilStill(): Promise<number[]> {
  let last: number[] = [];
  return until(
    'nothing is committed any more',
    async () => {
      const [before, now] = [last, await commits()];
      last = now;
      return String(before) === String(now) && now;
    },
    { everyMs: 500 },
  );
}

test(`a checkout costs at most ${COMMITS_MAX} commits over all databases, counted by the servers`, async () => {
  const order = { buyerId: 'alice', sku: 'book', quantity: 1 };
  const checkOut = (n: number) =>
    shop.send('payment', 'POST', '/checkouts', order, { 'idempotency-key': `count-${n}` });
  await checkOut(0); // whatever happens only once has happened
  const before = await untilStill();
  for (let n = 1; n <= CHECKOUTS; n++) expect((await checkOut(n)).status).toBe(201);
  const each = (await commits()).map((count, index) => (count - before[index]!) / CHECKOUTS);
  console.log(`commits per checkout: ${APPS.map((app, index) => `${app} ${each[index]}`).join(', ')}`);
  expect(each.reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(COMMITS_MAX);
  expect(each).toEqual([2, 4, 2]); // order, payment, inventory
});

test('and with its final marks, one statement for many, every invariant holds', async () => {
  const before = (await commits())[1]!;
  await Promise.all(shop.instances.map((instance) => instance.stop()));
  const marks = (await commits())[1]! - before;
  console.log(`${marks} commits for the marks of ${CHECKOUTS + 1} checkouts`);
  expect(marks).toBeLessThan(5);
  await expectAuditClean(shop);
});
