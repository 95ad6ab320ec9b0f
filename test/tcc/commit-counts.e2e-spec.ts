import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  durableWrites,
  endRecording,
  isRecordable,
  recordedSandbox,
  untilStill,
} from '../fixtures/disk-write-counts.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import type { AppName } from '../fixtures/sandbox.js';
import { APPS, Stack } from '../fixtures/three-apps.js';

const SET = 'count';
const CHECKOUTS = 50;
/** Two at each app: the initiator's own participant joins its two commits. */
const COMMITS_MAX = 6;
const NEVER_MS = 3_600_000;
/**
 * Scan and purge do not run by themselves. The final marks, which are batched and do not count, come later. No time limit
 * is reached on a busy machine: a cancelled checkout or a repeated call has other commits.
 */
const STILL = {
  core: { scanIntervalMs: NEVER_MS, purgeIntervalMs: NEVER_MS },
  tcc: { markDelayMs: NEVER_MS, timeoutMs: 60_000, callTimeoutMs: 60_000, secondPhaseWaitMs: 60_000 },
  saga: { callTimeoutMs: 60_000 },
};
let shop: Stack;

beforeAll(async () => {
  shop = new Stack(await recordedSandbox(SET), { options: STILL });
  await shop.start();
  await Promise.all([shop.account('alice', 10_000_000), shop.stock('book', 1_000)]);
}, 300_000);

afterAll(async () => {
  await shop?.stop();
  await endRecording(SET);
}, 120_000);

beforeEach((context) => {
  context.skip(!isRecordable(SET), 'the servers were given: others use them, too');
});

const commits = () => Promise.all(APPS.map(async (app) => (await durableWrites(shop.sandbox, app)).localCommits));

/** The commits of one purchase at each app, of those that are made one after the other. */
async function commitsOf(purchase: (n: number) => Promise<{ status: number }>): Promise<number[]> {
  await purchase(0); // everything that happens only once has happened
  const before = await untilStill(commits);
  for (let n = 1; n <= CHECKOUTS; n++) expect((await purchase(n)).status).toBe(201);
  return (await commits()).map((count, index) => (count - before[index]!) / CHECKOUTS);
}

const buy = (app: AppName, path: string) => (n: number) =>
  shop.send(app, 'POST', path, { buyerId: 'alice', sku: 'book', quantity: 1 }, { 'idempotency-key': `count-${n}` });

test(`a checkout costs at most ${COMMITS_MAX} commits over all databases, counted by the servers`, async () => {
  const each = await commitsOf(buy('payment', '/checkouts'));
  console.log(`commits per checkout: ${APPS.map((app, index) => `${app} ${each[index]}`).join(', ')}`);
  expect(each.reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(COMMITS_MAX);
  expect(each).toEqual([2, 2, 2]); // order, payment, inventory
});

test('the same purchase by a saga costs a commit less, and no final mark', async () => {
  const each = await commitsOf(buy('order', '/orders/saga'));
  console.log(`commits per purchase by saga: ${APPS.map((app, index) => `${app} ${each[index]}`).join(', ')}`);
  expect(each).toEqual([3, 1, 1]); // start with the first step, pivot mark, last step with the final mark; money; goods
});

test('every invariant holds after the final marks, which are one statement for many checkouts', async () => {
  const before = (await commits())[1]!;
  await Promise.all(shop.instances.map((instance) => instance.stop()));
  const marks = (await commits())[1]! - before;
  console.log(`${marks} commits for the marks of ${CHECKOUTS + 1} checkouts`);
  expect(marks).toBeLessThan(5);
  await expectAuditClean(shop);
});
