/** Two rows that share a part of their names stay two: neither is taken for the other, and neither ends the other's work. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { NOTIFY_QUEUE, NotificationProbe } from '../fixtures/notification-probe.js';
import { Target } from '../fixtures/notification-target.js';
import { NOTIFY_SECRET, NOTIFY_TIMES } from '../fixtures/notifying-shop.js';
import { Operator } from '../fixtures/operator.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

let sandbox: Sandbox;
let shop: Stack;
let probe: QueueProbe;
let target: Target;
let payment: Operator;

beforeAll(async () => {
  sandbox = await freshSandbox('names', { audited: false });
  const env = { DTX_NOTIFY_SECRET: NOTIFY_SECRET, DTX_NOTIFY_ALLOW: '127.0.0.0/8' };
  shop = new Stack(sandbox, { env, options: { core: { scanIntervalMs: 50 }, notify: NOTIFY_TIMES } });
  await shop.start(['payment', 'order']);
  probe = await QueueProbe.open(sandbox);
  target = await Target.start();
  payment = new Operator(shop, 'payment');
});

afterAll(async () => {
  await shop?.stop();
  await probe?.close();
  await target?.close();
});

const isGone = (url: string) => target.behave(url, (response) => response.writeHead(410).end());

/** Publishes an event as a publisher does. */
async function tell(event: { id: string; gid: string; type: string; target: string }): Promise<void> {
  const payload = { type: event.type, timestamp: new Date().toISOString(), data: {} };
  const properties = { messageId: event.id, type: 'dtx.notification.v1', correlationId: event.gid };
  await probe.publish(NOTIFY_QUEUE, JSON.stringify({ ...event, payload }), properties);
}

test('an event of another publisher under a known id is parked, and an operator’s retry delivers it', async () => {
  const queue = new NotificationProbe(sandbox, probe);
  const first = { id: 'event-1', gid: 'order-1', type: 'payment.captured', target: target.url('/first') };
  const other = { id: 'event-1', gid: 'order-2', type: 'payment.declined', target: target.url('/other') };
  await tell(first);
  await queue.untilState('event-1', 'DELIVERED');
  for (const again of [first, other, other]) await tell(again);
  const { id, lastError } = await payment.parkedOf('order-2');
  expect(lastError).toMatch(
    /^cannot record event event-1 as payment\.declined of order-2: id is taken by payment\.captured of order-1/,
  );
  expect(await payment.alertsOf(id)).toHaveLength(1);
  expect(target.calls.filter(({ path }) => path === '/other')).toEqual([]);
  expect((await payment.retry(id)).status).toBe(200);
  await queue.untilState(id, 'DELIVERED');
  expect(target.of(id)).toMatchObject([{ path: '/other' }]);
  expect(target.of('event-1')).toHaveLength(1);
});

test('a settled transaction does not hide a notification of the same id from an operator', async () => {
  const id = 'order-3';
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_tcc (id, gid, state, decision, deadline, created_at, decided_at, settled_at) VALUES
     (?, ?, 'CONFIRMED', 'CONFIRM', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [id, id],
  );
  await tell({ id, gid: id, type: 'payment.captured', target: isGone('/third') });
  await payment.parkedOf(id);
  const { body } = await payment.get(`/transactions/${id}`);
  expect(body).toMatchObject({ scheme: 'notify', state: 'PARKED' });
  target.behave('/third', (response) => response.writeHead(200).end());
  expect((await payment.retry(id)).status).toBe(200);
  await new NotificationProbe(sandbox, probe).untilState(id, 'DELIVERED');
  expectProblem(await payment.retry(id), 409);
  const { body: transaction } = await payment.get(`/transactions/${id}`);
  // Its timeline has nothing of what a person did about the notification.
  expect(transaction.scheme).toBe('tcc');
  expect(JSON.stringify(transaction.timeline)).not.toContain('retry');
});

test('a receipt of one consumer does not close the alert for another without a receipt', async () => {
  const id = '01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f';
  await sql(
    sandbox,
    'order',
    `INSERT INTO dtx_outbox (id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at)
     VALUES (?, 'order-4', 'order.told', 1, '{}', ',payment.one,inventory.two,', 'PARKED', '9999-12-31', UTC_TIMESTAMP(3))`,
    [id],
  );
  await sql(
    sandbox,
    'order',
    `INSERT INTO dtx_alert (id, open_key, scheme, subject_id, step, state, opened_at)
     VALUES (?, CONCAT('local-message:', ?), 'local-message', ?, 'sending', 'LOGGED', UTC_TIMESTAMP(3))`,
    [id, id, id],
  );
  const receipt = (consumer: string) => {
    const body = { receipts: [{ messageId: id, consumer, outcome: 'HANDLED' }] };
    return probe.publish('dtx.order.receipts.v1', JSON.stringify(body), { type: 'dtx.receipt.v1' });
  };
  const row = async () =>
    (
      await sql<{ awaiting: string; open: number }>(
        sandbox,
        'order',
        `SELECT o.awaiting, a.closed_at IS NULL AS open FROM dtx_outbox AS o JOIN dtx_alert AS a ON a.id = o.id WHERE o.id = ?`,
        [id],
      )
    )[0]!;
  await receipt('payment.one');
  await until('the receipt has come', async () => (await row()).awaiting === ',inventory.two,');
  expect(await row()).toMatchObject({ open: 1 });
  await receipt('inventory.two');
  await until('all receipts have come', async () => (await row()).awaiting === ',');
  expect(await row()).toMatchObject({ open: 0 });
});
