// The expiry of an order that stays PENDING: a delayed message of the order app to itself. The payment decides.
import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { statementsNow } from '../fixtures/running-statements.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { sold } from '../half-message/sale-and-verdict.js';

const RACES = process.env.DTX_TEST_ALL ? 1_000 : 60;
const AT_ONCE = 20;
/** Long enough for a purchase on a busy machine. */
const EXPIRY_MS = 2_000;
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('order_expiry');
  shop = new Stack(sandbox);
  await shop.start(['order'], { env: { DTX_ORDER_EXPIRY_MS: String(EXPIRY_MS) } });
  await shop.start(['payment', 'inventory']);
  await shop.account('alice', 100_000_000);
  await shop.stock('book', 10_000);
});

afterAll(() => shop?.stop());

const expiryOf = async (orderId: string) =>
  (
    await sql<{ state: string; name: string }>(
      sandbox,
      'order',
      `SELECT state, name FROM dtx_outbox WHERE gid = ? AND contract = 'order.expired'`,
      [orderId],
    )
  )[0]!;
const buy = () => shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 });

test('the commit that settles an order withdraws its expiry', async () => {
  const { orderId } = await buy();
  expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
  expect(await expiryOf(orderId)).toEqual({ state: 'CANCELLED', name: orderId });
});

test('a result that overtakes the commit of its flash sale withdraws the expiry of that commit', async () => {
  // A locked gap holds the insert of the name, between the order and the commit. The cancel reads committed rows, so it passes.
  const gap = await createConnection({ uri: sandbox.databases.order });
  try {
    await gap.query('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    await gap.beginTransaction();
    await gap.query('SELECT 1 FROM dtx_outbox_name FOR UPDATE');
    const orderId = await sold(shop.of('inventory'), 'overtaken');
    const waiting = (statement: string) => async () => (await statementsNow(sandbox, 'order', statement)) > 0;
    await until('the sale waits for the name of its expiry', waiting('%INTO%dtx_outbox_name%'));
    await until('the result waits for the order', waiting('%UPDATE orders%'));
    await gap.rollback();
    expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
    expect(await expiryOf(orderId)).toEqual({ state: 'CANCELLED', name: orderId });
  } finally {
    await gap.end();
  }
});

test('an order without inventory expires with TIMEOUT, and takes no stock when inventory is back', async () => {
  const stock = (await shop.get('inventory', '/stock/book')).body;
  await shop.of('inventory').kill();
  const { orderId } = await buy();
  expect(await shop.settled(orderId, 20_000)).toMatchObject({ status: 'CANCELLED', reason: 'TIMEOUT' });
  expect((await shop.get('payment', `/payments/${orderId}`)).body).toMatchObject({ status: 'DECLINED' });
  await shop.start(['inventory']);
  await until('the message of the order is handled', async () => {
    const open = `SELECT 1 FROM dtx_outbox WHERE gid = ? AND state NOT IN ('DONE', 'CANCELLED')`;
    return (await sql(sandbox, 'order', open, [orderId])).length === 0;
  });
  expect((await shop.get('inventory', '/stock/book')).body).toEqual(stock);
}, 60_000);

test('an order without payment stays PENDING, since only the payment can decide, and then ends once', async () => {
  await shop.of('payment').kill();
  const { orderId } = await buy();
  await until('its expiry is handled', async () => (await expiryOf(orderId)).state === 'DONE');
  expect((await shop.get('order', `/orders/${orderId}`)).body.status).toBe('PENDING');
  await shop.start(['payment']);
  const { status } = await shop.settled(orderId, 30_000);
  expect(['CONFIRMED', 'CANCELLED']).toContain(status);
}, 60_000);

test('of payment and expiry at the same time one decides each order', async () => {
  // The stock is taken about when the order expires, so both reach the payment app at about the same time.
  await shop.of('inventory').kill();
  await shop.start(['inventory'], { failpoints: `local-message.inserted=delay(${EXPIRY_MS - 100})` });
  const orderIds: string[] = [];
  const statuses: string[] = [];
  while (statuses.length < RACES) {
    const wave = await Promise.all(Array.from({ length: AT_ONCE }, buy));
    orderIds.push(...wave.map(({ orderId }) => orderId));
    statuses.push(...(await Promise.all(wave.map(async ({ orderId }) => (await shop.settled(orderId)).status))));
  }
  const rows = await sql<{ status: string; n: number }>(
    sandbox,
    'payment',
    'SELECT status, COUNT(*) AS n FROM payment WHERE order_id IN (?) GROUP BY status',
    [orderIds],
  );
  const count = (status: string) => statuses.filter((one) => one === status).length;
  const paid = (status: string) => Number(rows.find((row) => row.status === status)?.n ?? 0);
  expect([paid('CAPTURED'), paid('DECLINED')]).toEqual([count('CONFIRMED'), count('CANCELLED')]);
  expect(count('CONFIRMED') + count('CANCELLED')).toBe(RACES);
}, 300_000);

test('no money and no piece is lost or counted twice', async () => {
  // The slow one still has messages of orders that have expired. Each of them costs it 900 ms.
  await shop.of('inventory').kill();
  await shop.start(['inventory']);
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
}, 60_000);
