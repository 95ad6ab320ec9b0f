import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createSandbox } from '../../tools/src/sandbox/sandbox.js';
import { control, down, up } from '../../tools/src/servers/index.js';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { messagesIn } from '../fixtures/broker-queues.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { expectAuditClean } from '../fixtures/purchase-checks.js';
import { sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until, untilPassed } from '../fixtures/until.js';
import { sell, sold, verdicts } from './sale-and-verdict.js';

/** Servers of their own, since all other tests need theirs up. */
const SET = 'half_outage';
const COPIES = 20;
const LEVEL_MS = 8_000;
const servers = control(SET);
let shop: Stack;

beforeAll(async () => {
  const sandbox = await createSandbox(await up(SET, { say: () => {} }), SET);
  shop = new Stack(sandbox, { options: SHORT_TIMES });
  await shop.start(['order', 'payment']);
}, 300_000);

afterAll(async () => {
  await shop?.stop();
  await down(SET, { say: () => {}, wipe: true });
}, 120_000);

beforeEach((context) => {
  context.skip(!servers.rabbitmq.supported || !servers.inventory.supported, 'the servers were given: not ours to stop');
});

/** One check only, and no sweeper: whatever counted an outage as a check would park the copies, or lose them. */
async function inventory(failpoints?: string): Promise<AppProcess> {
  const halfMessage = { ...SHORT_TIMES.halfMessage, levelsMs: [LEVEL_MS], sweepAfterMs: 3_600_000 };
  const options = { ...SHORT_TIMES, halfMessage };
  const [app] = await shop.start(['inventory'], { options, ...(failpoints ? { failpoints } : {}) });
  return app!;
}

/** Sales that are committed and not sent, and some that were prepared and never begun: all are left to their checks. */
async function leaveCopies(name: string): Promise<string[]> {
  const committed = await inventory('half-message.confirmed=error');
  const prepared = await inventory('half-message.committed=error');
  await Promise.all([shop.account('alice', 1_000_000_000), shop.stock('book', 10_000)]);
  const each = Array.from({ length: COPIES }, (_, n) => n);
  const [orderIds] = await Promise.all([
    Promise.all(each.map((n) => sold(committed, `${name}-committed-${n}`))),
    ...each.map(async (n) => expectProblem(await sell(prepared, `${name}-prepared-${n}`), 503)),
  ]);
  await Promise.all([committed.kill(), prepared.kill()]);
  expect(await messagesIn(shop.sandbox, `dtx.inventory.half-wait.${LEVEL_MS}ms.v1`)).toBe(2 * COPIES);
  return orderIds;
}

async function expectSettled(orderIds: string[], rolledBackBefore: number): Promise<void> {
  for (const orderId of orderIds) expect((await shop.settled(orderId, 60_000)).status).toBe('CONFIRMED');
  const rolledBack = async () =>
    (await verdicts(shop.sandbox)).filter(({ state }) => state === 'ROLLED_BACK').length - rolledBackBefore;
  await until('the others are ruled back', async () => (await rolledBack()) === COPIES);
  expect(await sql(shop.sandbox, 'inventory', 'SELECT id FROM dtx_half_parked')).toEqual([]);
  await expectAuditClean(shop);
}

test('each prepared message reaches its check after the broker was killed and restarted', async () => {
  const orderIds = await leaveCopies('broker');
  await servers.rabbitmq.kill();
  await servers.rabbitmq.start();
  await inventory();
  await expectSettled(orderIds, 0);
}, 180_000);

test('a check without a database counts no attempt and loses no message', async () => {
  await Promise.all(shop.instances.filter(({ app }) => app === 'inventory').map((one) => one.kill()));
  const orderIds = await leaveCopies('database');
  const checking = await inventory();
  const since = performance.now();
  await servers.inventory.stop();
  await untilPassed(since, LEVEL_MS + 5_000);
  expect(checking.exited).toBe(false);
  await servers.inventory.start();
  await expectSettled(orderIds, COPIES);
}, 180_000);
