import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { logLines, troubleIn } from '../fixtures/app-logs.js';
import { AppProcess } from '../fixtures/app-process.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Answer, call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };
const BALANCE = 10_000_000;
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_checkout');
  shop = new Stack(sandbox);
  await Promise.all([shop.start(), shop.start()]); // two instances of each app
  await Promise.all([shop.account('alice', BALANCE), shop.account('bob', 100)]);
  await Promise.all([shop.stock('book', 1_000), shop.stock('mug', 2)]);
});

afterAll(() => shop?.stop());

function checkOut(body: object, key?: string, url = shop.of('payment').url): Promise<Answer> {
  const headers = { 'content-type': 'application/json', ...(key ? { 'idempotency-key': key } : {}) };
  return call(`${url}/checkouts`, { method: 'POST', headers, body: JSON.stringify(body) });
}

describe('POST /checkouts', () => {
  test('a checkout is answered with 201 CONFIRMED, and order, money and goods agree', async () => {
    const answer = await checkOut({ ...BOOK, quantity: 2 });
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject({ scheme: 'tcc', status: 'CONFIRMED', amount: 3_998, buyerId: 'alice' });
    const { orderId } = answer.body;
    expect((await shop.get('order', `/orders/${orderId}`)).body).toEqual(answer.body);
    expect(answer.headers.get('location')).toBe(`${shop.of('payment').url}/checkouts/${orderId}`);
    expect((await shop.get('payment', `/checkouts/${orderId}`)).body).toEqual(answer.body);
    expect((await shop.get('payment', `/payments/${orderId}`)).body).toMatchObject({
      status: 'CAPTURED',
      amount: 3_998,
    });
    expect((await shop.get('payment', '/accounts/alice')).body).toMatchObject({ balance: BALANCE - 3_998, frozen: 0 });
    expect((await shop.get('inventory', '/stock/book')).body).toMatchObject({ available: 998, reserved: 0, sold: 2 });
  });

  test.each([
    ['alice', 3, 'OUT_OF_STOCK'],
    ['bob', 1, 'INSUFFICIENT_FUNDS'],
    ['stranger', 1, 'UNKNOWN_BUYER'],
  ])(
    'a checkout by %s of %i mugs is answered with 409 %s, and the order is CANCELLED without effects',
    async (buyerId, quantity, reason) => {
      const before = await shop.get('inventory', '/stock/mug');
      const answer = await checkOut({ buyerId, sku: 'mug', quantity });
      const problem = expectProblem(answer, 409);
      expect(problem).toMatchObject({ type: 'urn:nest-dtx:refused', reason, orderStatus: 'CANCELLED' });
      const order = await shop.get('order', `/orders/${problem.orderId}`);
      expect(order.body).toMatchObject({ status: 'CANCELLED', reason, scheme: 'tcc', buyerId });
      expect((await shop.get('payment', `/checkouts/${problem.orderId}`)).body).toEqual(order.body);
      expect((await shop.get('inventory', '/stock/mug')).body).toEqual(before.body);
      expect((await shop.get('payment', `/payments/${problem.orderId}`)).status).toBe(404);
    },
  );

  test('an unknown checkout is answered with 404, and an invalid body with 400', async () => {
    expectProblem(await shop.get('payment', '/checkouts/01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f'), 404);
    expectProblem(await shop.get('payment', '/checkouts/none'), 404);
    expectProblem(await checkOut({ ...BOOK, quantity: 0 }), 400, 'quantity');
  });
});

describe('with an Idempotency-Key', () => {
  test('a replay repeats status and body of a success and of a refusal, at the other instance too', async () => {
    const other = shop.instances.filter(({ app }) => app === 'payment').at(-1)!;
    for (const [key, wanted, status] of [
      ['good', BOOK, 201],
      ['bad', { ...BOOK, buyerId: 'bob' }, 409],
    ] as const) {
      const first = await checkOut(wanted, key);
      expect(first.status).toBe(status);
      for (const url of [shop.of('payment').url, other.url]) {
        const again = await checkOut(wanted, key, url);
        expect([again.status, again.body]).toEqual([first.status, first.body]);
      }
      expectProblem(await checkOut({ ...wanted, quantity: 7 }, key), 422);
    }
  });

  test('twenty simultaneous calls are one purchase: each is answered with its outcome or with 409 while the first runs', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => checkOut(BOOK, 'twenty')));
    const running = answers.filter(({ body }) => body.type === 'urn:nest-dtx:idempotency-key-busy');
    expect(running.map(({ status, body }) => [status, body.orderId])).toEqual(running.map(() => [409, undefined]));
    const told = answers.filter((answer) => !running.includes(answer));
    expect(new Set(told.map(({ status, body }) => `${status} ${body.orderId}`)).size).toBe(1);
    expect((await checkOut(BOOK, 'twenty')).body).toEqual(told[0]!.body);
  });

  test('a call during the first one is answered with 409 of its own type, and a caller who hung up gets the outcome later', async () => {
    const failpoints = 'tcc.tried=1*delay(6000)';
    const options = { tcc: { timeoutMs: 30_000 } };
    const slow = await AppProcess.start('payment', { sandbox, options, failpoints, label: 'slow' });
    shop.instances.push(slow);
    await shop.untilReady(slow);
    const caller = new AbortController();
    const init = { method: 'POST', body: JSON.stringify(BOOK), signal: caller.signal };
    const headers = { 'content-type': 'application/json', 'idempotency-key': 'hung-up' };
    const hungUp = expect(fetch(`${slow.url}/checkouts`, { ...init, headers })).rejects.toThrow();
    await until('the first call is under way', () => slow.hits().length === 1);
    caller.abort();
    await hungUp;
    expectProblem(await checkOut(BOOK, 'hung-up'), 409);
    const found = await until('the call is over', async () => {
      const answer = await checkOut(BOOK, 'hung-up');
      return answer.status === 201 && answer;
    });
    expect((await shop.get('order', `/orders/${found.body.orderId}`)).body).toEqual(found.body);
  });
});

test('a checkout that was answered with PENDING is replayed with PENDING until its decision', async () => {
  const options = { tcc: { timeoutMs: 20_000, secondPhaseWaitMs: 1_000 } };
  const failpoints = 'tcc.decided=error';
  const blind = await AppProcess.start('payment', { sandbox, options, failpoints, label: 'blind' });
  shop.instances.push(blind);
  await shop.untilReady(blind);
  const first = await checkOut(BOOK, 'pending', blind.url);
  expect([first.status, first.body.status]).toEqual([202, 'PENDING']);
  const again = await checkOut(BOOK, 'pending', blind.url);
  expect([again.status, again.body]).toEqual([202, first.body]);
  await blind.kill();
  const decided = await until(
    'another instance has decided',
    async () => {
      const answer = await checkOut(BOOK, 'pending');
      return answer.body.orderStatus === 'CANCELLED' && answer;
    },
    { withinMs: 60_000 },
  );
  expect(decided).toMatchObject({ status: 409, body: { orderId: first.body.orderId, orderStatus: 'CANCELLED' } });
});

test('a checkout without a broker is answered with 503 before anything is begun, and a replay is still answered', async () => {
  const first = await checkOut(BOOK, 'before');
  const cut = await AppProcess.start('payment', {
    sandbox: { ...sandbox, rabbitmq: 'amqp://unknown:unknown@127.0.0.1:1/none' },
    label: 'cut-off',
  });
  shop.instances.push(cut);
  await until('its database is open', async () => (await fetch(`${cut.url}/health/ready`)).ok);
  const answer = await checkOut(BOOK, 'cut-off', cut.url);
  expectProblem(answer, 503);
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  // The answer hides the reason. The log has it for the person on call.
  expect(logLines(cut).map(({ message }) => message)).toContainEqual(
    expect.stringMatching(/^POST \/checkouts answered 503: .*RabbitMQ/),
  );
  const keys = await sql(sandbox, 'payment', `SELECT gid FROM dtx_idempotency WHERE idempotency_key = 'cut-off'`);
  expect(keys).toEqual([]);
  expect((await checkOut(BOOK, 'before', cut.url)).body).toEqual(first.body);
});

test('/dtx shows the steps and the branches of a transaction, and /docs describes the call', async () => {
  const { orderId } = (await checkOut(BOOK)).body;
  const shown = await until('the transaction is settled', async () => {
    const { body } = await shop.get('payment', `/dtx/transactions/${orderId}`);
    return body.state === 'CONFIRMED' && body;
  });
  expect(shown).toMatchObject({ scheme: 'tcc', gid: orderId, attempts: 0, nextAttemptAt: null });
  expect((shown.timeline as Array<{ event: string }>).map(({ event }) => event)).toEqual([
    'registered with all its branches',
    'decided to CONFIRM',
    'applied by every branch',
  ]);
  const done = { version: 1, doneAt: null, state: 'DONE' };
  expect((shown.details as { branches: object[] }).branches).toMatchObject([
    { branch: 0, participant: 'order.checkout', ...done },
    { branch: 1, participant: 'payment.funds', ...done },
    { branch: 2, participant: 'inventory.stock', ...done },
  ]);
  const docs = await shop.get('payment', '/docs-json');
  const { post } = (docs.body as { paths: Record<string, { post: { responses: object } }> }).paths['/checkouts']!;
  expect(Object.keys(post.responses)).toEqual(expect.arrayContaining(['201', '202', '400', '409', '422', '503']));
});

test('every invariant holds after these checkouts, and no log has an error', async () => {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  expect(report.ok).toBe(true);
  expect(troubleIn(shop.instances)).toEqual([]);
});
