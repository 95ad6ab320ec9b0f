import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  type DurableWrites,
  durableWrites,
  endRecording,
  isRecordable,
  recordedSandbox,
  untilStill,
} from '../fixtures/disk-write-counts.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { APPS, Stack } from '../fixtures/three-apps.js';
import { buy } from './xa-purchase.js';

const SET = 'xacount';
const PURCHASES = 50;
const NEVER_MS = 3_600_000;
/** No scan and no purge of its own accord, and the final marks, which are batched and do not count, come later. */
const STILL = { core: { scanIntervalMs: NEVER_MS, purgeIntervalMs: NEVER_MS }, xa: { markDelayMs: NEVER_MS } };
const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };
let shop: Stack;

beforeAll(async () => {
  shop = new Stack(await recordedSandbox(SET), { options: STILL });
  await shop.start(['payment', 'inventory']);
  await shop.start(['order']);
  await Promise.all([shop.account('alice', 10_000_000), shop.stock('book', 1_000)]);
}, 300_000);

afterAll(async () => {
  await shop?.stop();
  await endRecording(SET);
}, 120_000);

beforeEach((context) => {
  context.skip(!isRecordable(SET), 'the servers were given: others use them, too');
});

const writes = () => Promise.all(APPS.map((app) => durableWrites(shop.sandbox, app)));

test('a purchase costs two prepares, one commit of the decision and two of the branches, counted by the servers', async () => {
  const place = (n: number) => buy(shop.of('order').url, `count-${n}`, BOOK);
  await place(0); // whatever happens only once has happened
  const before = await untilStill(writes);
  const times: number[] = [];
  for (let n = 1; n <= PURCHASES; n++) {
    const since = performance.now();
    expect((await place(n)).status).toBe(201);
    times.push(performance.now() - since);
  }
  const each = (await writes()).map((now, index) =>
    Object.fromEntries(
      Object.entries(now).map(([what, count]) => [
        what,
        (count - before[index]![what as keyof DurableWrites]) / PURCHASES,
      ]),
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

test('every invariant holds after the final marks, which are one statement for many purchases', async () => {
  const before = (await durableWrites(shop.sandbox, 'order')).localCommits;
  await Promise.all(shop.instances.map((instance) => instance.stop()));
  const marks = (await durableWrites(shop.sandbox, 'order')).localCommits - before;
  console.log(`${marks} commits for the marks of ${PURCHASES + 1} purchases`);
  expect(marks).toBeLessThan(5);
  await expectAuditClean(shop);
});
