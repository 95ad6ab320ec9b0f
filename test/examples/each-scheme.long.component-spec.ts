import { afterEach, beforeAll, expect, test } from 'vitest';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { ExampleProcess } from './example-process.js';

let sandbox: Sandbox;
const running: ExampleProcess[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('examples', { audited: false });
});

afterEach(async () => {
  await Promise.all(running.splice(0).map((example) => example.stop()));
});

async function start(path: string, app: AppName, env: Record<string, string> = {}): Promise<ExampleProcess> {
  const servers = { DATABASE_URL: sandbox.databases[app], RABBITMQ_URL: sandbox.rabbitmq };
  const example = await ExampleProcess.start(path, { ...servers, ...env });
  running.push(example);
  return example;
}

const rows = <Row>(app: AppName, query: string, values: unknown[] = []) => sql<Row>(sandbox, app, query, values);

/** Waits until a table has one row with this key. */
function untilRow(app: AppName, table: string, column: string, key: string): Promise<boolean> {
  return until(`${table} has ${key}`, async () => {
    const found = await rows(app, `SELECT ${column} FROM ${table} WHERE ${column} = ?`, [key]);
    return found.length === 1;
  });
}

test('local-message records one mail for an order', async () => {
  const shop = await start('local-message/app', 'order');
  const { body: orderId } = await shop.post('/orders', 201);
  await untilRow('order', 'mail', 'orderId', orderId);
  await untilRow('order', 'purchase', 'orderId', orderId);
});

test('half-message packs a parcel for a sale', async () => {
  const shop = await start('half-message/app', 'payment');
  const { body: saleId } = await shop.post('/sales', 201);
  await untilRow('payment', 'parcel', 'saleId', saleId);
  await untilRow('payment', 'sale', 'saleId', saleId);
});

/** A view that reads before it writes loses the newer one of two prices that are handled at the same time. */
test('confirmed-publish lists the newest price of each of 40 goods', async () => {
  const shop = await start('confirmed-publish/app', 'inventory');
  const goods = Array.from({ length: 40 }, (_, i) => `apple-${i}`);
  await Promise.all(
    goods.map(async (sku) => {
      for (const cents of [120, 125, 130]) await shop.post(`/prices/${sku}/${cents}`, 201);
    }),
  );
  await until('the newest prices are listed', async () => {
    const listed = await rows<{ cents: number; version: number }>('inventory', 'SELECT * FROM listed_price');
    return listed.length === goods.length && listed.every(({ cents, version }) => cents === 130 && version === 3);
  });
});

/** Four orders of four books, all waiting for a person. */
async function waitingOrders(shop: ExampleProcess): Promise<[string, string, string, string]> {
  await rows('payment', `INSERT INTO goods (name, available) VALUES ('book', 4)`);
  const orders = await Promise.all(Array.from({ length: 4 }, async () => (await shop.post('/orders', 201)).body));
  await until('each order waits for three days', async () => {
    const waits = await rows<{ hours: number }>(
      'payment',
      'SELECT TIMESTAMPDIFF(HOUR, UTC_TIMESTAMP(), next_attempt_at) AS hours FROM dtx_saga WHERE waiting_since IS NOT NULL',
    );
    return waits.length === 4 && waits.every(({ hours }) => hours === 71);
  });
  return orders as [string, string, string, string];
}

test('saga ships an approved order, and a refused, a cancelled and a late one give the goods back', async () => {
  const shop = await start('saga/app', 'payment');
  const [approved, refused, cancelled, late] = await waitingOrders(shop);
  expect((await shop.post(`/orders/${approved}/approval/yes`, 201)).body).toBe('KEPT');
  expect((await shop.post(`/orders/${refused}/approval/no`, 201)).body).toBe('KEPT');
  expect((await shop.post(`/orders/${cancelled}/cancel`, 201)).body).toBe('CANCELLING');
  await rows(
    'payment',
    `UPDATE dtx_saga SET waiting_since = waiting_since - INTERVAL 3 DAY, next_attempt_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [late],
  );
  const wanted = { [approved]: 'SHIPPED', [refused]: 'NOT_APPROVED', [cancelled]: 'CUSTOMER', [late]: 'TIMEOUT' };
  await until('each order has its end', async () => {
    const found = await rows<{ orderId: string; status: string }>('payment', 'SELECT * FROM purchase');
    return found.every(({ orderId, status }) => status === wanted[orderId]);
  });
  expect(await rows('payment', 'SELECT available FROM goods')).toEqual([{ available: 3 }]);
  await until('a shipped order cannot be cancelled', async () => {
    return (await shop.post(`/orders/${approved}/cancel`, 201)).body === 'COMPLETED';
  });
});

test('tcc books a seat with money, and gives the money back without a seat', async () => {
  const shop = await start('tcc/app', 'order');
  await rows('order', `INSERT INTO resource (name, available) VALUES ('seats', 1), ('money', 100)`);
  const booked = await until('the booking is confirmed', async () => {
    const outcome = JSON.parse((await shop.post('/bookings', 201)).body);
    return outcome.status === 'CONFIRMED' && outcome;
  });
  expect(booked.waitingFor).toEqual([]);
  const refused = JSON.parse((await shop.post('/bookings', 201)).body);
  expect(refused).toMatchObject({ status: 'CANCELLED', reason: 'NOT_ENOUGH_SEATS' });
  await until('the money is back', async () => {
    const left = await rows<{ name: string; available: number }>('order', 'SELECT * FROM resource ORDER BY name');
    return left[0]?.available === 70 && left[1]?.available === 0;
  });
});

test('xa takes the money of an order, and stores no order without money', async () => {
  const both = { PAYMENT_DATABASE_URL: sandbox.databases.payment };
  await start('xa/payment', 'payment', both);
  const order = await start('xa/order', 'inventory', both);
  await rows('payment', `INSERT INTO account (owner, balance) VALUES ('ann', 40)`);
  await order.post('/orders/ann', 201);
  await order.post('/orders/ann', 409);
  expect(await rows('payment', 'SELECT balance FROM account')).toEqual([{ balance: 10 }]);
  expect(await rows('inventory', 'SELECT * FROM purchase')).toHaveLength(1);
});

test('notification tells the merchant about a payment', async () => {
  const NOTIFY_SECRET = 'a secret of the merchant';
  const merchant = await start('notification/merchant', 'order', { NOTIFY_SECRET });
  const MERCHANT_URL = `${merchant.url.replace('localhost', '127.0.0.1')}/results`;
  const shop = await start('notification/app', 'payment', { NOTIFY_SECRET, MERCHANT_URL });
  const { body: messageId } = await shop.post('/payments', 201);
  expect(messageId).toMatch(/^[\w-]{36}$/);
  const told = await until('the merchant is told', () => /notification ([\w-]+): (.*)/.exec(merchant.output));
  expect(JSON.parse(told[2]!)).toMatchObject({ type: 'payment.captured', data: { paymentId: told[1] } });
  await untilRow('payment', 'payment', 'paymentId', told[1]!);
});
