import { afterAll, beforeAll, expect, test } from 'vitest';
import { AppProcess } from '../fixtures/app-process.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { expectNothingLeft, preparedOf } from './branches-and-decisions.js';
import { buy } from './xa-purchase.js';

let sandbox: Sandbox;
let shop: Stack;
const book = { buyerId: 'alice', sku: 'book', quantity: 1 };

beforeAll(async () => {
  sandbox = await freshSandbox('xa_orders');
  shop = new Stack(sandbox);
  await shop.start();
  await Promise.all([shop.account('alice', 10_000_000), shop.account('bob', 1), shop.stock('book', 1_000)]);
});

afterAll(() => shop?.stop());

const url = () => shop.of('order').url;

test('a purchase is CONFIRMED in three databases before it is answered, and a replay repeats status and body', async () => {
  const answer = await buy(url(), 'good', book);
  expect(answer).toMatchObject({ status: 201, body: { ...book, scheme: 'xa', status: 'CONFIRMED', amount: 1_999 } });
  const { orderId } = answer.body;
  expect(answer.headers.get('location')).toBe(`${url()}/orders/${orderId}`);
  expect((await shop.get('order', `/orders/${orderId}`)).body).toEqual(answer.body);
  expect((await shop.get('payment', `/payments/${orderId}`)).body).toMatchObject({ status: 'CAPTURED', amount: 1_999 });
  expect(await sql(sandbox, 'inventory', 'SELECT state, times FROM stock_take WHERE order_id = ?', [orderId])).toEqual([
    { state: 'TAKEN', times: 1 },
  ]);
  const again = await buy(url(), 'good', book);
  expect([again.status, again.body]).toEqual([201, answer.body]);
  expectProblem(await buy(url(), 'good', { ...book, quantity: 2 }), 422);
});

test.each([
  ['OUT_OF_STOCK', { ...book, sku: 'phone' }],
  ['INSUFFICIENT_FUNDS', { ...book, buyerId: 'bob' }],
  ['UNKNOWN_BUYER', { ...book, buyerId: 'stranger' }],
])(
  'a purchase refused by %s is answered with 409, has no effect, and a replay repeats the answer',
  async (reason, body) => {
    const answer = await buy(url(), reason, body);
    expect(answer).toMatchObject({ status: 409, body: { orderStatus: 'CANCELLED', reason } });
    const { orderId } = answer.body;
    expect((await shop.get('order', `/orders/${orderId}`)).body).toMatchObject({ status: 'CANCELLED', reason });
    expect((await shop.get('payment', `/payments/${orderId}`)).status).toBe(404);
    const again = await buy(url(), reason, body);
    expect([again.status, again.body]).toEqual([409, answer.body]);
  },
);

test('16 simultaneous calls with one key make one purchase', async () => {
  const answers = await Promise.all(Array.from({ length: 16 }, () => buy(url(), 'same', book)));
  const made = answers.filter(({ status }) => status === 201);
  expect(new Set(made.map(({ body }) => body.orderId)).size).toBe(1);
  for (const { status } of answers) expect([201, 409]).toContain(status);
});

test('16 simultaneous purchases of one sku by one buyer all succeed', async () => {
  // They go one after the other: on a busy machine the last waits for longer than a caller usually may.
  const options = { core: { lockWaitSeconds: 30 }, xa: { timeoutMs: 60_000, acquireTimeoutMs: 30_000 } };
  const [patient] = await shop.start(['order'], { options });
  const answers = await Promise.all(Array.from({ length: 48 }, (_, n) => buy(patient!.url, `hot-${n}`, book)));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201));
  await patient!.stop();
  await expectNothingLeft(sandbox);
});

test('a second instance replays a purchase, and /dtx shows an open transaction', async () => {
  const [other] = await shop.start(['order']);
  const first = await buy(url(), 'elsewhere', book);
  expect((await buy(other!.url, 'elsewhere', book)).body).toEqual(first.body);
  const id = (
    await until('it is done', () =>
      sql<{ id: string }>(sandbox, 'order', `SELECT id FROM dtx_xa WHERE gid = ? AND state = 'DONE'`, [
        first.body.orderId,
      ]).then((rows) => rows.length > 0 && rows),
    )
  )[0]!.id;
  const { body } = await shop.get('order', `/dtx/transactions/${id}`);
  expect(body).toMatchObject({ scheme: 'xa', gid: first.body.orderId, state: 'DONE' });
  expect(body.timeline).toHaveLength(3);
  await other!.stop();
});

test('without the broker POST /orders/xa still answers 201', async () => {
  const broker = await TcpProxy.start(sandbox.rabbitmq);
  broker.cut();
  const deaf = await AppProcess.start('order', { sandbox, env: { DTX_RABBITMQ_URL: broker.url }, label: 'deaf' });
  shop.instances.push(deaf);
  const answer = await until('it is open', async () => {
    const given = await buy(deaf.url, 'no-broker', book);
    return given.status !== 503 && given;
  });
  expect(answer.status).toBe(201);
  await deaf.stop();
  await broker.close();
});

test('no branch is prepared after these purchases', async () => {
  await expectNothingLeft(sandbox);
  expect(await preparedOf(sandbox)).toEqual([]);
});
