import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { logLines } from '../fixtures/app-logs.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { mended, outOfOrder } from '../fixtures/failing-table.js';
import { Operator } from '../fixtures/operator.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const TAKE_STOCK = 'dtx.inventory.take-stock.v1';
const backoff = { firstMs: 50, factor: 1, capMs: 50 };
let sandbox: Sandbox;
let shop: Stack;
let probe: QueueProbe;
let inventory: Operator;

beforeAll(async () => {
  sandbox = await freshSandbox('operations_parked');
  shop = new Stack(sandbox, { options: { core: { scanIntervalMs: 100, inbox: { attemptsMax: 2, backoff } } } });
  await shop.start();
  await shop.account('alice', 1_000_000_000);
  await shop.stock('book', 1_000);
  probe = await QueueProbe.open(sandbox);
  inventory = new Operator(shop, 'inventory');
});

afterAll(async () => {
  await probe?.close();
  await shop?.stop();
});

const parkedLines = (id: string) =>
  logLines(shop.of('inventory')).filter(({ message }) => message.startsWith('PARKED') && message.includes(id));

describe('a message that cannot be read', () => {
  const type = 'order.placed.v1';
  const old = '01900000-0000-7000-8000-000000000000'; // made in 2024
  const cases: Array<[string, string | Buffer, Record<string, string>, RegExp]> = [
    ['no JSON', '{"orderId":', { messageId: 'no-json', type }, /not JSON/],
    ['empty', '', { messageId: 'empty', type }, /not JSON/],
    ['no text', Buffer.from([0xff, 0x00, 0xfe]), { messageId: 'no-text', type }, /not JSON/],
    ['of another schema', '{"orderId":1}', { messageId: 'schema', type }, /orderId/],
    ['of another type', '{}', { messageId: 'type', type: 'stock.taken.v1' }, /stock\.taken\.v1/],
    ['of a newer version', '{}', { messageId: 'version', type: 'order.placed.v2' }, /order\.placed\.v2/],
    ['of no type', '{}', { messageId: 'no-type' }, /got none/],
    ['without anything', 'hello', {}, /got none/],
    ['of no id', 'hello again', { type }, /no valid message id/],
    ['of an id that no URL takes', 'hello', { messageId: `a/b?c'd`, type }, /no valid message id/],
    ['older than the inbox remembers', '{}', { messageId: old, type }, /older than inbox\.retentionMs/],
  ];

  afterEach(() => inventory.closeAll()); // so that one that fails takes no other with it

  test.each(cases)(
    'an unreadable message is PARKED with one alert and does not block those behind it: %s',
    async (...one) => {
      const [, body, properties, why] = one;
      const receipt = await probe.deliver(TAKE_STOCK, body, properties);
      expect(receipt).toMatchObject({ consumer: 'inventory.take-stock', outcome: 'PARKED' });
      expect(await probe.deliver(TAKE_STOCK, body, properties)).toEqual(receipt);
      const behind = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 });
      expect(await shop.settled(behind.orderId)).toMatchObject({ status: 'CONFIRMED' });

      const items = await inventory.parked();
      expect(items).toEqual([
        expect.objectContaining({ state: 'PARKED', nextAttemptAt: null, lastError: expect.stringMatching(why) }),
      ]);
      const { id } = items[0]!;
      expect(id).toBe(`${receipt.messageId}.inventory.take-stock`);
      const alert = { subject: id, closedAt: null, acknowledgedAt: null, retry: `POST /dtx/transactions/${id}/retry` };
      expect(await inventory.alertsOf(id)).toEqual([expect.objectContaining(alert)]);
      expect(parkedLines(id)).toHaveLength(1);

      expectProblem(await inventory.resolve(id, 'reject'), 409);
      const closed = await inventory.resolve(id, 'done');
      expect([closed.status, closed.body.state]).toEqual([200, 'HANDLED']);
      expect(await inventory.closedAlertsOf(id)).toHaveLength(1);
      expect((await probe.deliver(TAKE_STOCK, body, properties)).outcome).toBe('HANDLED');
      for (const again of [inventory.resolve(id, 'done'), inventory.retry(id)]) expectProblem(await again, 409);
      expect(await inventory.parked()).toEqual([]);
    },
  );

  test('an unreadable message gives up again when it is retried, which is a second incident', async () => {
    const { messageId } = await probe.deliver(TAKE_STOCK, 'nonsense', { messageId: 'again', type });
    const id = `${messageId}.inventory.take-stock`;
    expect((await inventory.retry(id)).status).toBe(200);
    const alerts = await until('it gave up again', async () => {
      const found = await inventory.alertsOf(id);
      return found.length === 2 && found;
    });
    expect(alerts.filter(({ closedAt }) => closedAt === null)).toHaveLength(1);
    await until('it is logged', async () => parkedLines(id).length === 2); // after the commit that the API has shown
    expect((await inventory.resolve(id, 'done')).status).toBe(200);
    expect((await inventory.alertsOf(id)).filter(({ closedAt }) => closedAt === null)).toEqual([]);
  });

  test('an unreadable receipt is discarded and does not block the receipts behind it', async () => {
    const receipt = { consumer: 'inventory.take-stock', outcome: 'HANDLED' };
    const bodies = ['', '{', 'null', '[]', '{}', '{"receipts":null}', '{"receipts":[{}]}'];
    const ids = ['', 'é', '💰', "' OR 1=1", 'x'.repeat(65), null, 7];
    bodies.push(...ids.map((messageId) => JSON.stringify({ receipts: [{ ...receipt, messageId }] })));
    bodies.push(JSON.stringify({ receipts: [{ ...receipt, messageId: 'x', consumer: 'é' }] }));
    for (const body of bodies) await probe.publish('dtx.order.receipts.v1', body);
    const { orderId } = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 });
    await shop.settled(orderId);
    const done = `SELECT state FROM dtx_outbox WHERE gid = ? AND state = 'DONE'`;
    await until('its receipt is marked', async () => (await sql(sandbox, 'order', done, [orderId])).length === 1);
    await until('the queue is empty', async () => (await probe.waiting('dtx.order.receipts.v1')) === 0);
    expect(shop.of('order').log()).not.toContain('returning it to the queue');
  });
});

describe('a purchase whose handler keeps failing', () => {
  const breakShelf = () =>
    outOfOrder(sandbox, 'inventory', 'stock', { when: `NEW.sku = 'phone' AND NEW.sold > OLD.sold` });
  const mendShelf = () => mended(sandbox, 'inventory');
  beforeEach(async () => {
    await shop.stock('phone', 10);
    await breakShelf();
  });
  afterEach(mendShelf);
  const buyPhone = () => shop.order({ buyerId: 'alice', sku: 'phone', quantity: 1 });

  test('a purchase with a failing handler is PARKED with one alert, blocks no other, and settles by a retry', async () => {
    const { orderId } = await buyPhone();
    const other = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 });
    expect(await shop.settled(other.orderId)).toMatchObject({ status: 'CONFIRMED' });
    const { id } = await inventory.parkedOf(orderId);
    expect((await shop.get('order', `/orders/${orderId}`)).body.status).toBe('PENDING');
    const one = (await inventory.get(`/transactions/${id}`)).body;
    expect(one).toMatchObject({ state: 'PARKED', attempts: 2, lastError: 'out of order', gid: orderId });
    expect(JSON.stringify(one.timeline)).toContain('out of order'); // the timeline has the failed attempts
    expect(await inventory.alertsOf(id)).toEqual([expect.objectContaining({ gid: orderId, closedAt: null })]);
    expect(parkedLines(id)).toHaveLength(1);
    expect(await inventory.summaryOf('dtx_inbox')).toMatchObject({
      parked: 1,
      states: { PARKED: 1 },
      oldestDueMs: null,
    });
    const { ok, parked } = await auditOf(sandbox);
    expect([ok, parked]).toEqual([true, [expect.objectContaining({ gid: orderId })]]);

    await mendShelf();
    const retried = await inventory.retry(id);
    expect(retried.status).toBe(200);
    expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
    expect(await inventory.closedAlertsOf(id)).toHaveLength(1);
    expectProblem(await inventory.retry(id), 409);
  });

  test('all parked purchases of one kind can be retried at once', async () => {
    const orders = await Promise.all([buyPhone(), buyPhone(), buyPhone()]);
    for (const { orderId } of orders) await inventory.parkedOf(orderId);
    await mendShelf();
    const all = { scheme: 'local-message', state: 'PARKED' };
    expect(await inventory.retryAll({ ...all, scheme: 'tcc' })).toBe(0);
    expect(await inventory.retryAll(all)).toBe(3);
    for (const { orderId } of orders) expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
    expect(await inventory.retryAll(all)).toBe(0);
    expect(await inventory.parked()).toEqual([]);
  });

  test('the alert of a parked purchase can be acknowledged once and stays open', async () => {
    const { orderId } = await buyPhone();
    const { id } = await inventory.parkedOf(orderId);
    const [alert] = await inventory.alertsOf(id);
    const first = await inventory.post(`/alerts/${alert!.id}/acknowledge`);
    expect(first).toMatchObject({
      status: 200,
      body: { id: alert!.id, acknowledgedAt: expect.any(String), closedAt: null },
    });
    expect((await inventory.post(`/alerts/${alert!.id}/acknowledge`)).body).toEqual(first.body);
    await mendShelf();
    await inventory.retry(id);
    expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
  });
});

describe('a purchase that got stuck further on', () => {
  test('a purchase that is parked at the payment can be rejected: its stock is restored, and no money moves', async () => {
    const payment = new Operator(shop, 'payment');
    const before = [await shop.get('inventory', '/stock/book'), await shop.get('payment', '/accounts/alice')];
    await outOfOrder(sandbox, 'payment', 'account', { when: 'NEW.captured > OLD.captured' });
    const { orderId } = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 3 });
    const { id } = await payment.parkedOf(orderId);
    expect((await payment.resolve(id, 'reject')).status).toBe(200);
    await mended(sandbox, 'payment');
    expect(await shop.settled(orderId)).toMatchObject({
      status: 'CANCELLED',
      reason: expect.stringMatching(/^[A-Z_]+$/),
    });
    expect((await shop.get('payment', `/payments/${orderId}`)).body.status).toBe('DECLINED');
    await until('the stock is back', async () => {
      const after = [await shop.get('inventory', '/stock/book'), await shop.get('payment', '/accounts/alice')];
      expect(after.map(({ body }) => body)).toEqual(before.map(({ body }) => body));
      return true;
    });
  });

  test('a purchase that is parked at the order app cannot be rejected, since its money is taken, and settles by a retry', async () => {
    const order = new Operator(shop, 'order');
    await outOfOrder(sandbox, 'order', 'orders', { when: `NEW.status = 'CONFIRMED'` });
    const { orderId } = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 });
    const { id } = await order.parkedOf(orderId);
    expectProblem(await order.resolve(id, 'reject'), 409);
    await mended(sandbox, 'order');
    expect((await order.retry(id)).status).toBe(200);
    expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
  });
});

test('no row waits for an operator after the tests, and every invariant holds', async () => {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  expect([report.ok, report.parked]).toEqual([true, []]);
  expect((await inventory.summaryOf('dtx_inbox'))?.parked ?? 0).toBe(0);
});
