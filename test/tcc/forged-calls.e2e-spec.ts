import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AlertView } from '../../libs/dtx/src/index.js';
import { logLines } from '../fixtures/app-logs.js';
import { Operator } from '../fixtures/operator.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { type AppName, auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

/** The name of an answer queue of an instance of the order app, which has made no call. */
const ANSWERS = `dtx.order.tcc-answers.${randomUUID()}`;
let sandbox: Sandbox;
let shop: Stack;
let probe: QueueProbe;

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_incidents');
  shop = new Stack(sandbox);
  await shop.start();
  await shop.account('alice', 1_000_000);
  await shop.stock('book', 100);
  probe = await QueueProbe.open(sandbox);
  await probe.own(ANSWERS);
});

afterAll(async () => {
  await probe?.close();
  await shop?.stop();
});

/** A call that no coordinator has made. */
async function forge(queue: string, gid: string, phase: 'confirm' | 'cancel', args: object): Promise<void> {
  const body = { callId: randomUUID(), gid, branch: 0, phase, args, decidedAt: new Date().toISOString() };
  await probe.publish(queue, JSON.stringify(body), {
    type: 'dtx.tcc-call.v1',
    messageId: body.callId,
    replyTo: ANSWERS,
  });
}

const alertsOn = async (app: AppName, gid: string) => {
  const { items } = (await new Operator(shop, app).get('/alerts?limit=100')).body as unknown as { items: AlertView[] };
  return items.filter((alert) => alert.gid === gid);
};
const parkedTotal = async (app: AppName) => {
  const { body } = await call(`${shop.of(app).url}/metrics`);
  return /^dtx_parked_total\{scheme="tcc"\} (\d+)$/m.exec(String(body.text))?.[1] ?? '0';
};

describe.each<[AppName, string, object]>([
  ['inventory', 'dtx.inventory.tcc-stock.v1', { sku: 'book', quantity: 1 }],
  // The initiator's own app, whose table has no such transaction.
  ['payment', 'dtx.payment.tcc-funds.v1', { buyerId: 'alice', amount: 100 }],
])('a forged Confirm at %s', (app, queue, args) => {
  test('raises one alert that names no retry and closes when an operator acknowledges it', async () => {
    const gid = `forged-${app}`;
    const before = await parkedTotal(app);
    const answered = await probe.waiting(ANSWERS);
    for (let n = 0; n < 5; n++) await forge(queue, gid, 'confirm', args);
    await until('all are answered', async () => (await probe.waiting(ANSWERS)) === answered + 5);
    const [alert] = await alertsOn(app, gid);
    expect(alert).toMatchObject({ closesBy: 'acknowledge', retry: null, closedAt: null });
    expect(alert!.lastError).toContain(`check the decision of order on ${gid}`);
    const lines = logLines(shop.of(app)).filter(({ message }) => message.includes(`(gid ${gid})`));
    expect(lines.map(({ message }) => message)).toEqual([expect.stringMatching(/^REFUSED tcc .*acknowledge/)]);
    expect(await parkedTotal(app)).toBe(before);
    const operator = new Operator(shop, app);
    const closed = await operator.post(`/alerts/${alert!.id}/acknowledge`);
    expect(closed).toMatchObject({
      status: 200,
      body: { closedAt: expect.any(String), acknowledgedAt: expect.any(String) },
    });
    expect((await operator.post(`/alerts/${alert!.id}/acknowledge`)).body).toEqual(closed.body);
    expect(await alertsOn(app, gid)).toHaveLength(1);
    // The next one is a new incident.
    await forge(queue, gid, 'confirm', args);
    await until('it is raised', async () => (await alertsOn(app, gid)).length === 2);
    await operator.post(`/alerts/${(await alertsOn(app, gid))[0]!.id}/acknowledge`);
  });
});

test('a forged Cancel with the order of another purchase does not touch that order', async () => {
  const { orderId } = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 });
  const order = (await shop.settled(orderId)) as unknown as Record<string, unknown>;
  const victim = '01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f';
  await sql(
    sandbox,
    'order',
    `INSERT INTO orders (order_id, scheme, buyer_id, sku, quantity, amount, status, created_at, updated_at)
     SELECT ?, 'tcc', buyer_id, sku, quantity, amount, 'PENDING', created_at, updated_at FROM orders WHERE order_id = ?`,
    [victim, orderId],
  );
  const statusOf = async () =>
    (await sql<{ status: string }>(sandbox, 'order', 'SELECT status FROM orders WHERE order_id = ?', [victim]))[0]!
      .status;
  const { buyerId, sku, quantity, amount, createdAt } = order;
  const args = { orderId: victim, scheme: 'tcc', buyerId, sku, quantity, amount, createdAt };
  const refused = () =>
    logLines(shop.of('order')).filter(({ message }) => message.includes('does not belong to transaction forged-order'));
  await forge('dtx.order.tcc-checkout.v1', 'forged-order', 'cancel', args);
  await until('the call is refused', () => refused().length > 0);
  expect(await statusOf()).toBe('PENDING');
  await sql(sandbox, 'order', 'DELETE FROM orders WHERE order_id = ?', [victim]);
});

test('every invariant holds after the forged calls', async () => {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  expect([report.ok, report.parked]).toEqual([true, []]);
});
