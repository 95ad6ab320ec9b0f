import { afterAll, beforeAll, expect, test } from 'vitest';
import { deleteQueue, messagesIn } from '../fixtures/broker-queues.js';
import { Operator } from '../fixtures/operator.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { RestartedInventory } from './restarted-inventory.js';
import { sell, sold, takes, verdicts } from './sale-and-verdict.js';

const CHECKS = 'dtx.inventory.half-check.v1';
let sandbox: Sandbox;
let shop: Stack;
let inventory: RestartedInventory;

beforeAll(async () => {
  sandbox = await freshSandbox('half_checks');
  inventory = await RestartedInventory.open(sandbox);
  shop = inventory.shop;
});

afterAll(() => inventory?.close());

const keyOf = async (key: string) =>
  (
    await sql<{ gid: string }>(sandbox, 'inventory', 'SELECT gid FROM dtx_idempotency WHERE idempotency_key = ?', [key])
  )[0];

const untilState = (gid: string, state: string) =>
  until(`the verdict of ${gid} is ${state}`, async () => (await verdicts(sandbox, gid))[0]?.state === state);

test('a committed message is delivered by a producer that was down for longer than all check delays', async () => {
  const levelsMs = [300, 400];
  const dying = await inventory.restart({ levelsMs }, 'half-message.committed=crash');
  await sell(dying, 'gone').catch(() => {}); // the answer dies with it
  await dying.untilExited();
  // Its prepared message waits in the check queue without a consumer. Messages there do not expire.
  await until('its first level is over', async () => (await messagesIn(sandbox, CHECKS)) === 1);
  const since = performance.now();
  await until('all levels would be over', () => performance.now() - since > 2_000);
  expect(await messagesIn(sandbox, CHECKS)).toBe(1);
  await inventory.restart({ levelsMs });
  const { gid } = (await keyOf('gone'))!;
  expect((await shop.settled(gid)).status).toBe('CONFIRMED');
  expect(await takes(sandbox, gid)).toEqual([{ state: 'TAKEN', times: 1 }]);
});

test('a local transaction that stays open is checked again at each delay, and its message is delivered after the commit', async () => {
  const levelsMs = [300, 400, 500, 30_000];
  const slow = await inventory.restart(
    { levelsMs },
    'half-message.opened=1*delay(8000);half-message.postponed=delay(0)',
  );
  const orderId = await sold(slow, 'slow');
  expect(slow.hits().filter((hit) => hit === 'half-message.postponed')).toHaveLength(3);
  expect((await shop.settled(orderId)).status).toBe('CONFIRMED');
  // Else the audit would wait for its last level.
  await deleteQueue(sandbox, 'dtx.inventory.half-wait.30000ms.v1');
});

test('a message that its producer and its check both deliver has one effect', async () => {
  // Neither that it was sent is written down, nor what its consumers say of it.
  const armed = 'half-message.marked=1*error;half-message.done=error;half-message.checked=delay(0)';
  const twice = await inventory.restart({}, armed);
  const orderId = await sold(twice, 'twice');
  await until('the check sends it again', () => twice.hits().includes('half-message.checked'));
  await inventory.restart({});
  await untilState(orderId, 'DONE');
  expect((await shop.settled(orderId)).status).toBe('CONFIRMED');
  expect(await takes(sandbox, orderId)).toEqual([{ state: 'TAKEN', times: 1 }]);
  const payments = await sql(sandbox, 'payment', 'SELECT status FROM payment WHERE order_id = ?', [orderId]);
  expect(payments).toEqual([{ status: 'CAPTURED' }]);
});

test.each<['retry' | 'reject', string]>([
  ['retry', 'delivered: its transaction has committed after all'],
  ['reject', 'ruled back: its transaction is gone with its process'],
])(
  'a parked prepared message that an operator settles by %s is %s',
  async (word) => {
    const levelsMs = [300];
    const armed = word === 'retry' ? '1*delay(6000);half-message.confirmed=error' : '1*delay(60000)';
    const stuck = await inventory.restart({ levelsMs }, `half-message.opened=${armed}`);
    const operator = new Operator(shop, 'inventory');
    const answered = sell(stuck, word).catch(() => null);
    const copy = await until('it is parked', async () => (await operator.parked())[0]);
    expect(copy.id).toMatch(/\.check$/);
    expect(await operator.alertsOf(copy.id)).toMatchObject([{ closedAt: null }]);
    if (word === 'retry') {
      expect((await answered)?.status).toBe(202);
      expect(await verdicts(sandbox, copy.gid!)).toMatchObject([{ state: 'COMMITTED' }]);
      expect((await operator.retry(copy.id)).status).toBe(200);
      expect((await shop.settled(copy.gid!)).status).toBe('CONFIRMED');
    } else {
      // While the transaction is open the outcome is unknown, and the check is repeated.
      expect((await operator.resolve(copy.id, 'reject')).status).toBe(503);
      await stuck.kill();
      await inventory.restart({ levelsMs });
      const rejected = await until('its connection is gone', async () => {
        const answer = await operator.resolve(copy.id, 'reject');
        return answer.status !== 503 && answer;
      });
      expect(rejected.status).toBe(200);
      expect(await verdicts(sandbox, copy.gid!)).toMatchObject([{ state: 'ROLLED_BACK' }]);
      expect(await takes(sandbox, copy.gid!)).toEqual([]);
    }
    expect(await operator.closedAlertsOf(copy.id)).toHaveLength(1);
    expect(await operator.parked()).toEqual([]);
  },
  60_000,
);

test('a prepared message is parked again if its transaction is open at every check after a retry, and delivered by the next retry', async () => {
  const levelsMs = [300, 400];
  const stuck = await inventory.restart(
    { levelsMs },
    'half-message.opened=1*delay(12000);half-message.confirmed=error',
  );
  const operator = new Operator(shop, 'inventory');
  const answered = sell(stuck, 'long').catch(() => null);
  const copy = await until('it is parked', async () => (await operator.parked())[0]);
  expect((await operator.retry(copy.id)).status).toBe(200);
  const again = await until('it is parked again', async () => (await operator.parked())[0]);
  expect(again.lastError).toMatch(/unknown at check 2 after the retry: it is still open/);
  expect((await operator.alertsOf(copy.id)).filter(({ closedAt }) => closedAt === null)).toHaveLength(1);
  expect((await answered)?.status).toBe(202);
  expect((await operator.retry(copy.id)).status).toBe(200);
  expect((await shop.settled(copy.gid!)).status).toBe('CONFIRMED');
  expect(await operator.closedAlertsOf(copy.id)).toHaveLength(2);
  expect(await operator.parked()).toEqual([]);
}, 60_000);
