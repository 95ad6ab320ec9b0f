import { createConnection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { mended, outOfOrder } from '../fixtures/failing-table.js';
import { Operator } from '../fixtures/operator.js';
import { QueueProbe } from '../fixtures/queue-probe.js';
import { statementsNow } from '../fixtures/running-statements.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

// Two operators at once, and an operator beside the library's own work: one of them succeeds, and both know which.
const TAKE_STOCK = 'dtx.inventory.take-stock.v1';
let sandbox: Sandbox;
let shop: Stack;
let probe: QueueProbe;
let inventory: Operator;

beforeAll(async () => {
  sandbox = await freshSandbox('operations_people');
  const inbox = { attemptsMax: 2, backoff: { firstMs: 50, factor: 1, capMs: 50 } };
  shop = new Stack(sandbox, { options: { core: { scanIntervalMs: 100, lockWaitSeconds: 30, inbox } } });
  await shop.start();
  await shop.account('alice', 1_000_000_000);
  probe = await QueueProbe.open(sandbox);
  inventory = new Operator(shop, 'inventory');
});

afterAll(async () => {
  await probe?.close();
  await shop?.stop();
});

/** No phone can be sold. */
const breakShelf = () =>
  outOfOrder(sandbox, 'inventory', 'stock', { when: `NEW.sku = 'phone' AND NEW.sold > OLD.sold` });
const mendShelf = () => mended(sandbox, 'inventory');
const buyPhone = () => shop.order({ buyerId: 'alice', sku: 'phone', quantity: 1 });

beforeEach(async () => {
  await shop.stock('phone', 10);
  await breakShelf();
});
afterEach(mendShelf);

/** Statements of this sandbox's inventory that wait for a row; other sandboxes are on the same server. */
async function lockWaits(): Promise<number> {
  const patterns = ['UPDATE stock %', '%FOR UPDATE'];
  const counts = await Promise.all(patterns.map((pattern) => statementsNow(sandbox, 'inventory', pattern)));
  return counts.reduce((sum, count) => sum + count, 0);
}

test('a parked row that two operators reject at once is rejected by one, and a later duplicate changes nothing', async () => {
  const { orderId } = await buyPhone();
  const { id } = await inventory.parkedOf(orderId);
  const before = (await shop.get('inventory', '/stock/phone')).body;
  const both = await Promise.all([inventory.resolve(id, 'reject'), inventory.resolve(id, 'reject')]);
  expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
  const cancelled = await shop.settled(orderId);
  expect(cancelled).toMatchObject({ status: 'CANCELLED', reason: expect.stringMatching(/^[A-Z_]+$/) });
  await mendShelf();
  expectProblem(await inventory.retry(id), 409);
  expectProblem(await inventory.resolve(id, 'done'), 409);
  const [copy] = await sql<{ id: string; payload: string }>(
    sandbox,
    'order',
    `SELECT id, payload FROM dtx_outbox WHERE gid = ? AND contract = 'order.placed'`,
    [orderId],
  );
  const headers = { 'dtx-scheme': 'local-message' };
  const properties = { messageId: copy!.id, type: 'order.placed.v1', correlationId: orderId, headers };
  expect((await probe.deliver(TAKE_STOCK, copy!.payload, properties)).outcome).toBe('HANDLED');
  expect((await shop.get('inventory', '/stock/phone')).body).toEqual(before);
  expect((await shop.get('order', `/orders/${orderId}`)).body).toEqual(cancelled);
  const { timeline } = (await inventory.get(`/transactions/${id}`)).body;
  expect(JSON.stringify(timeline)).toContain('looked into it'); // the note
});

test('a parked row that one operator retries while another rejects it has one of the two outcomes', async () => {
  const { orderId } = await buyPhone();
  const { id } = await inventory.parkedOf(orderId);
  await mendShelf();
  const answers = await Promise.all([inventory.retry(id), inventory.resolve(id, 'reject')]);
  for (const { status } of answers) expect([200, 409]).toContain(status);
  const isRefused = answers[1]!.status === 200;
  expect(await shop.settled(orderId)).toMatchObject({ status: isRefused ? 'CANCELLED' : 'CONFIRMED' });
  for (const again of [inventory.retry(id), inventory.resolve(id, 'reject')]) expectProblem(await again, 409);
});

test('a retry and a rejection of a row in work wait for it and come too late', async () => {
  const { orderId } = await buyPhone();
  const { id } = await inventory.parkedOf(orderId);
  await mendShelf();
  const hold = await createConnection({ uri: sandbox.databases.inventory });
  try {
    await hold.beginTransaction();
    await hold.query(`SELECT sku FROM stock WHERE sku = 'phone' FOR UPDATE`);
    expect((await inventory.retry(id)).status).toBe(200);
    await until('its handler waits for the shelf', async () => (await lockWaits()) === 1);
    const late = [inventory.retry(id), inventory.resolve(id, 'done'), inventory.resolve(id, 'reject')];
    await until('they wait for the handler', async () => (await lockWaits()) === 4);
    await hold.rollback();
    for (const answer of late) expectProblem(await answer, 409);
  } finally {
    await hold.end();
  }
  expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
  const [take] = await sql(sandbox, 'inventory', 'SELECT state, times FROM stock_take WHERE order_id = ?', [orderId]);
  expect(take).toMatchObject({ state: 'TAKEN', times: 1 });
});

test('no row waits for an operator after the tests, and every invariant holds', async () => {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  expect([report.ok, report.parked]).toEqual([true, []]);
});
