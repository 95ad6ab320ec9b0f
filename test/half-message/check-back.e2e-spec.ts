import { afterAll, beforeAll, expect, test } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/run-case.js';
import { AppProcess } from '../fixtures/app-process.js';
import { deleteQueue, messagesIn } from '../fixtures/broker-queues.js';
import { Operator } from '../fixtures/operator.js';
import { propertiesOf, TestPublisher } from '../fixtures/outbox-message-copies.js';
import { expectAuditClean } from '../fixtures/purchase-load.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { BOOK, sell, sold, takes, verdicts } from './sale-and-verdict.js';

const CHECKS = 'dtx.inventory.half-check.v1';
let sandbox: Sandbox;
let shop: Stack;
let seller: AppProcess | undefined;

beforeAll(async () => {
  sandbox = await freshSandbox('half_checks');
  shop = new Stack(sandbox, { options: SHORT_TIMES });
  await shop.start();
  await Promise.all([shop.account('alice', 1_000_000), shop.stock('book', 100)]);
  await shop.of('inventory').stop();
});

afterAll(async () => {
  await seller?.stop();
  await shop.start(['inventory']);
  await expectAuditClean(shop);
  await shop.stop();
});

/** The only inventory app. The sweeper runs too rarely to matter, so a message that is sent late was sent by a check. */
async function restart(halfMessage: object, failpoints?: string): Promise<AppProcess> {
  await seller?.stop();
  const options = {
    ...SHORT_TIMES,
    halfMessage: { ...SHORT_TIMES.halfMessage, sweepAfterMs: 600_000, ...halfMessage },
  };
  [seller] = await shop.start(['inventory'], { options, ...(failpoints ? { failpoints } : {}) });
  return seller!;
}

const keyOf = async (key: string) =>
  (
    await sql<{ gid: string }>(sandbox, 'inventory', 'SELECT gid FROM dtx_idempotency WHERE idempotency_key = ?', [key])
  )[0];

const untilState = (gid: string, state: string) =>
  until(`the verdict of ${gid} is ${state}`, async () => (await verdicts(sandbox, gid))[0]?.state === state);

test('a committed message is delivered by a producer that was down for longer than all check delays', async () => {
  const levelsMs = [300, 400];
  const dying = await restart({ levelsMs }, 'half-message.committed=crash');
  await sell(dying, 'gone').catch(() => {}); // the answer dies with it
  await dying.untilExited();
  // Its prepared message waits in the check queue without a consumer. Messages there do not expire.
  await until('its first level is over', async () => (await messagesIn(sandbox, CHECKS)) === 1);
  const since = performance.now();
  await until('all levels would be over', () => performance.now() - since > 2_000);
  expect(await messagesIn(sandbox, CHECKS)).toBe(1);
  await restart({ levelsMs });
  const { gid } = (await keyOf('gone'))!;
  expect((await shop.settled(gid)).status).toBe('CONFIRMED');
  expect(await takes(sandbox, gid)).toEqual([{ state: 'TAKEN', times: 1 }]);
});

test('a local transaction that stays open is checked again at each delay, and its message is delivered after the commit', async () => {
  const levelsMs = [300, 400, 500, 30_000];
  const slow = await restart({ levelsMs }, 'half-message.opened=1*delay(8000);half-message.postponed=delay(0)');
  const orderId = await sold(slow, 'slow');
  expect(slow.hits().filter((hit) => hit === 'half-message.postponed')).toHaveLength(3);
  expect((await shop.settled(orderId)).status).toBe('CONFIRMED');
  // Else the audit would wait for its last level.
  await deleteQueue(sandbox, 'dtx.inventory.half-wait.30000ms.v1');
});

test('a message that its producer and its check both deliver has one effect', async () => {
  // Neither that it was sent is written down, nor what its consumers say of it.
  const armed = 'half-message.marked=1*error;half-message.done=error;half-message.checked=delay(0)';
  const twice = await restart({}, armed);
  const orderId = await sold(twice, 'twice');
  await until('the check sends it again', () => twice.hits().includes('half-message.checked'));
  await restart({});
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
    const stuck = await restart({ levelsMs }, `half-message.opened=${armed}`);
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
      await restart({ levelsMs });
      const rejected = await until('its connection is gone', async () => {
        const answer = await operator.resolve(copy.id, 'reject');
        return answer.status !== 503 && answer;
      });
      expect(rejected.status).toBe(200);
      expect(await verdicts(sandbox, copy.gid!)).toMatchObject([{ state: 'ROLLED_BACK' }]);
      expect(await takes(sandbox, copy.gid!)).toEqual([]);
    }
    expect(await operator.alertsOf(copy.id)).toMatchObject([{ closedAt: expect.any(String) }]);
    expect(await operator.parked()).toEqual([]);
  },
  60_000,
);

test('the next sale declares a waiting queue again that an operator has deleted', async () => {
  // A level long enough to be looked at.
  const app = await restart({ levelsMs: [10_000] });
  const queue = 'dtx.inventory.half-wait.10000ms.v1';
  await sold(app, 'before');
  await deleteQueue(sandbox, queue);
  const orderId = await sold(app, 'after');
  expect(await messagesIn(sandbox, queue)).toBe(1);
  expect((await shop.settled(orderId)).status).toBe('CONFIRMED');
});

test('a decline that overtakes its sale cancels the order and restores the stock', async () => {
  const app = await restart({});
  await shop.of('order').stop();
  const orderId = await sold(app, 'overtaken', { ...BOOK, buyerId: 'a stranger' });
  await until('the stock is back', async () => (await takes(sandbox, orderId))[0]?.state === 'RETURNED');
  // The sale is taken out of the order app's queue, and given back when the decline has been handled.
  const queue = 'dtx.order.record-flash-sale.v1';
  await until('the sale waits', async () => (await messagesIn(sandbox, queue)) === 1);
  const [row] = await sql<{ id: string; payload: string }>(
    sandbox,
    'inventory',
    'SELECT * FROM dtx_half WHERE gid = ?',
    [orderId],
  );
  await deleteQueue(sandbox, queue);
  await shop.start(['order']);
  expect(await shop.settled(orderId)).toMatchObject({ status: 'CANCELLED', reason: 'UNKNOWN_BUYER' });
  const publisher = await TestPublisher.open(sandbox);
  const sale = { id: row!.id, gid: orderId, contract: 'flash.sold', version: 1, sender: 'inventory' } as const;
  const properties = { ...propertiesOf(sale), headers: { 'dtx-scheme': 'half-message' } };
  delete properties.replyTo;
  await publisher.send(queue, Buffer.from(row!.payload), properties);
  await publisher.close();
  const handled = `SELECT state FROM dtx_inbox WHERE gid = ? AND consumer = 'order.record-flash-sale'`;
  await until('the sale is heard of', async () => (await sql(sandbox, 'order', handled, [orderId])).length === 1);
  expect((await shop.get('order', `/orders/${orderId}`)).body).toMatchObject({ status: 'CANCELLED' });
});

test('a sale whose payment keeps failing is parked with one alert, and its rejection by an operator undoes stock and order', async () => {
  const app = await restart({});
  await shop.of('payment').stop();
  const once = { ...SHORT_TIMES, core: { ...SHORT_TIMES.core, inbox: { attemptsMax: 2, backoff: { firstMs: 100 } } } };
  await shop.start(['payment'], { options: once });
  await sql(sandbox, 'payment', 'RENAME TABLE account TO account_away');
  const orderId = await sold(app, 'broken');
  const operator = new Operator(shop, 'payment');
  const { id } = await operator.parkedOf(orderId);
  await sql(sandbox, 'payment', 'RENAME TABLE account_away TO account');
  expect(await operator.alertsOf(id)).toMatchObject([{ closedAt: null }]);
  expect((await operator.resolve(id, 'reject')).status).toBe(200);
  expect(await shop.settled(orderId)).toMatchObject({ status: 'CANCELLED', reason: 'TIMEOUT' });
  await until('the stock is back', async () => (await takes(sandbox, orderId))[0]?.state === 'RETURNED');
});

test('an app does not start if the broker refuses its queues, and says why', async () => {
  const publisher = await TestPublisher.open(sandbox);
  await publisher.declare('dtx.inventory.half-wait.777ms.v1');
  const halfMessage = { ...SHORT_TIMES.halfMessage, levelsMs: [777] };
  const refused = AppProcess.spawn('inventory', { sandbox, options: { ...SHORT_TIMES, halfMessage } });
  await refused.untilExited();
  expect(refused.child.exitCode).toBe(1);
  expect(refused.log()).toMatch(
    /inventory: half messages need a broker .*RabbitMQ 3\.10.*half-wait\.777ms.*PRECONDITION/,
  );
  await publisher.close();
  await deleteQueue(sandbox, 'dtx.inventory.half-wait.777ms.v1');
});
