import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { control, down, up } from '../../scripts/infra/index.mjs';
import { createWorld } from '../../scripts/infra/world.mjs';
import { expectAuditClean } from '../support/load.js';
import { APPS, Stack } from '../support/stack.js';
import { until } from '../support/until.js';
import { servers, sql, type World } from '../support/world.js';
import { buy } from './shop.js';

/** Database servers of their own: what they are told is then only ours. */
const SET = 'xacount';
const PURCHASES = 50;
const NEVER_MS = 3_600_000;
/** No scan and no purge of its own accord, and the final marks, which are batched and do not count, come later. */
const STILL = { core: { scanIntervalMs: NEVER_MS, purgeIntervalMs: NEVER_MS }, xa: { markDelayMs: NEVER_MS } };
const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };
let shop: Stack;

beforeAll(async () => {
  const { databases } = await up(SET, { say: () => {}, only: ['databases'] });
  const world: unknown = await createWorld({ ...servers(), databases }, SET);
  shop = new Stack(world as World, { options: STILL });
  for (const app of APPS) await sql(shop.world, app, `SET GLOBAL log_output = 'TABLE', GLOBAL general_log = ON`);
  await shop.start(['payment', 'inventory']);
  await shop.start(['order']);
  await Promise.all([shop.account('alice', 10_000_000), shop.stock('book', 1_000)]);
}, 300_000);

afterAll(async () => {
  await shop?.stop();
  await down(SET, { say: () => {}, wipe: true });
}, 120_000);

beforeEach((context) => {
  context.skip(!control(SET).payment.supported, 'the servers were given: others use them, too');
});

interface Durable {
  prepares: number;
  branchCommits: number;
  localCommits: number;
}

/** What a server was told that makes it write its log to disk. */
async function durable(app: (typeof APPS)[number]): Promise<Durable> {
  const log = await sql<{ thread: number; statement: string }>(
    shop.world,
    app,
    `SELECT thread_id AS thread, CONVERT(argument USING utf8mb4) AS statement FROM mysql.general_log WHERE command_type = 'Query'`,
  );
  const open = new Map<number, boolean>();
  const found: Durable = { prepares: 0, branchCommits: 0, localCommits: 0 };
  // Several statements that were sent together are one line; none of their literals has a semicolon.
  const statements = log.flatMap(({ thread, statement }) =>
    statement.split(/;\s*/).map((one) => ({ thread, statement: one })),
  );
  for (const { thread, statement } of statements) {
    if (/^(START TRANSACTION|BEGIN|XA START)/i.test(statement)) open.set(thread, false);
    if (/^(INSERT|UPDATE|DELETE|REPLACE)/i.test(statement)) {
      if (open.has(thread)) open.set(thread, true);
      else found.localCommits++;
    }
    if (/^XA PREPARE/i.test(statement)) found.prepares++;
    if (/^XA COMMIT/i.test(statement)) found.branchCommits++;
    if (/^COMMIT/i.test(statement) && open.get(thread)) found.localCommits++;
    if (/^(COMMIT|ROLLBACK|XA COMMIT|XA ROLLBACK)/i.test(statement)) open.delete(thread);
  }
  return found;
}

async function untilStill(): Promise<Durable[]> {
  let last = '';
  return until(
    'nothing is written any more',
    async () => {
      const now = await Promise.all(APPS.map(durable));
      const isStill = last === JSON.stringify(now);
      last = JSON.stringify(now);
      return isStill && now;
    },
    { everyMs: 500 },
  );
}

test('a purchase costs two prepares, one commit of the decision and two of the branches, counted by the servers', async () => {
  const place = (n: number) => buy(shop.of('order').url, `count-${n}`, BOOK);
  await place(0); // whatever happens only once has happened
  const before = await untilStill();
  const times: number[] = [];
  for (let n = 1; n <= PURCHASES; n++) {
    const since = performance.now();
    expect((await place(n)).status).toBe(201);
    times.push(performance.now() - since);
  }
  const each = (await Promise.all(APPS.map(durable))).map((now, index) =>
    Object.fromEntries(
      Object.entries(now).map(([what, count]) => [what, (count - before[index]![what as keyof Durable]) / PURCHASES]),
    ),
  );
  times.sort((one, other) => one - other);
  console.log(JSON.stringify({ order: each[0], payment: each[1], inventory: each[2], p50: times[PURCHASES / 2] }));
  expect(each).toEqual([
    { prepares: 0, branchCommits: 0, localCommits: 1 },
    { prepares: 1, branchCommits: 1, localCommits: 0 },
    { prepares: 1, branchCommits: 1, localCommits: 0 },
  ]);
});

test('and with its final marks, one statement for many, every invariant holds', async () => {
  const before = (await durable('order')).localCommits;
  await Promise.all(shop.instances.map((instance) => instance.stop()));
  const marks = (await durable('order')).localCommits - before;
  console.log(`${marks} commits for the marks of ${PURCHASES + 1} purchases`);
  expect(marks).toBeLessThan(5);
  await expectAuditClean(shop);
});
