import { connect } from 'node:net';
import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { troubleIn } from '../fixtures/app-logs.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { statementsNow } from '../fixtures/running-statements.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('shutdown', { audited: false });
  shop = new Stack(sandbox);
  await shop.start();
  await shop.account('alice', 1_000_000);
  await shop.stock('book', 100);
});

afterAll(() => shop?.stop());

test('readiness answers 503 from the stop signal on, and all other calls are answered as before', async () => {
  const [payment] = (await shop.start(['payment'])) as [AppProcess];
  const locker = await createConnection(sandbox.databases.payment);
  await locker.query('START TRANSACTION');
  await locker.query(`SELECT * FROM account WHERE buyer_id = 'alice' FOR UPDATE`);
  const checkOut = (buyerId: string) =>
    call(`${payment.url}/checkouts`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ buyerId, sku: 'book', quantity: 1 }),
    });
  try {
    const waiting = checkOut('alice');
    await until('the call waits for the row', async () => (await statementsNow(sandbox, 'payment', '%account%')) > 0);
    payment.signal('SIGTERM');
    await until('the signal has come', () => /SIGTERM: stopping/.test(payment.log()));
    const ready = () => call(`${payment.url}/health/ready`);
    const said = [await ready(), await ready()];
    const refusal = await checkOut('nobody');
    await locker.query('ROLLBACK');
    const answered = await waiting;
    expect(said.map(({ status }) => status)).toEqual([503, 503]);
    expect([refusal.status, refusal.body.reason]).toEqual([409, 'UNKNOWN_BUYER']);
    expect([201, 202]).toContain(answered.status);
    await payment.untilExited();
    expect(payment.child.exitCode).toBe(0);
  } finally {
    await locker.end();
  }
});

test('a stop does not wait for a long poll of an order', async () => {
  const [order] = (await shop.start(['order'])) as [AppProcess];
  const waiting = call(`${order.url}/orders/01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f?waitMs=30000`);
  await until('the call has come', async () => (await call(`${order.url}/health/ready`)).status === 200);
  await order.stop();
  expect((await waiting).status).toBe(404);
  expect(order.child.exitCode).toBe(0);
});

test.each([
  ['nothing', ''],
  ['half a head', 'POST /accounts/alice HTTP/1.1\r\nhost: x\r\n'],
  ['one call, and no more', 'GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n'],
])('a stop does not wait for a caller that keeps a connection open and sends %s', async (_, said) => {
  const [payment] = (await shop.start(['payment'])) as [AppProcess];
  const caller = connect({ port: Number(new URL(payment.url).port), host: '127.0.0.1' });
  caller.on('error', () => {}); // a reset is as good an end as any
  await new Promise<void>((connected) => caller.once('connect', connected));
  caller.write(said);
  if (said.endsWith('\r\n\r\n')) await new Promise((answered) => caller.once('data', answered));
  await call(`${payment.url}/health/live`); // by now it has seen the other connection
  await payment.stop();
  expect(payment.child.exitCode).toBe(0); // it would be 1 after the time limit of a stop
  expect(troubleIn([payment])).toEqual([]);
});
