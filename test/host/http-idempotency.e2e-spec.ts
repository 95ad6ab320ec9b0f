import request, { type Response } from 'supertest';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { troubleIn } from '../fixtures/app-logs.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const good = { buyerId: 'alice', sku: 'book', quantity: 1 };
let sandbox: Sandbox;
let shop: Stack;
const accepted = new Set<string>();
const keys = new Set<string>();

beforeAll(async () => {
  sandbox = await freshSandbox('http_idempotency');
  shop = new Stack(sandbox, { options: { core: { lockWaitSeconds: 1 } } });
  await shop.start();
  await shop.account('alice', 10_000_000);
  await shop.stock('book', 1_000);
});

afterAll(() => shop?.stop());

async function place(body: unknown, key?: string, base = shop.of('order').url): Promise<Response> {
  const response = await request(base)
    .post('/orders')
    .set({ 'content-type': 'application/json', ...(key === undefined ? {} : { 'idempotency-key': key }) })
    .send(typeof body === 'string' ? body : JSON.stringify(body));
  if (response.status < 300) accepted.add(response.body.orderId);
  if (response.status < 300 && key !== undefined) keys.add(key);
  return response;
}

test.each<[string, string]>([
  ['empty', ''],
  ['of 256 characters', 'k'.repeat(256)],
  ['with a blank in it', 'a b'],
  ['with a tab in it', 'a\tb'],
  ['with other letters than ASCII', 'clé'],
])('a call whose key is %s answers 400 and buys nothing', async (_, key) => {
  expectProblem(await place(good, key), 400, 'header.Idempotency-Key');
});

test('each call without a key makes a purchase of its own', async () => {
  const [first, second] = [await place(good), await place(good)];
  expect([first.status, second.status]).toEqual([202, 202]);
  expect(first.body.orderId).not.toBe(second.body.orderId);
});

describe('a replay', () => {
  test('a replay repeats status, body and Location of the first answer, also after the purchase is final', async () => {
    const key = `! ~${'k'.repeat(252)}`.replace(' ', '"');
    const first = await place(good, key);
    await shop.settled(first.body.orderId);
    for (const body of [good, '{ "quantity":1.0, "sku":"book", "buyerId":"alice" }']) {
      const again = await place(body, key);
      expect([again.status, again.body, again.headers.location]).toEqual([202, first.body, first.headers.location]);
    }
  });

  test('a replay at another instance or after a restart returns the same answer', async () => {
    const first = await place(good, 'everywhere');
    const [other] = await shop.start(['order']);
    expect((await place(good, 'everywhere', other!.url)).body).toEqual(first.body);
    await other!.stop();
    expect((await place(good, 'everywhere')).body).toEqual(first.body);
  });

  test('a replay of a purchase that was cancelled later repeats the first answer and buys nothing', async () => {
    const first = await place({ ...good, sku: 'phone' }, 'cancelled');
    expect(await shop.settled(first.body.orderId)).toMatchObject({ status: 'CANCELLED', reason: 'OUT_OF_STOCK' });
    const again = await place({ ...good, sku: 'phone' }, 'cancelled');
    expect([again.status, again.body]).toEqual([202, first.body]);
  });

  test('a replay with another body answers 422 and does not change the purchase', async () => {
    const first = await place(good, 'reused');
    for (const other of [{ quantity: 2 }, { buyerId: 'bob' }, { notifyUrl: 'http://merchant.example/' }]) {
      const { type } = expectProblem(await place({ ...good, ...other }, 'reused'), 422);
      expect(type).not.toBe('about:blank');
    }
    expect((await place(good, 'reused')).body).toEqual(first.body);
  });
});

test('an invalid call leaves its key free, and keys differ by case', async () => {
  expectProblem(await place({ ...good, quantity: 0 }, 'free'), 400, 'quantity');
  const [first, other] = [await place(good, 'free'), await place(good, 'FREE')];
  expect([first.status, other.status]).toEqual([202, 202]);
  expect(first.body.orderId).not.toBe(other.body.orderId);
});

test('twenty concurrent calls with one key make one purchase, and each returns it or answers that the first still runs', async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, () => place(good, 'twenty')));
  const running = answers.filter(({ body }) => body.type === 'urn:nest-dtx:idempotency-key-busy');
  expect(running.map(({ status, body }) => [status, body.orderId])).toEqual(running.map(() => [409, undefined]));
  const told = answers.filter((answer) => !running.includes(answer));
  expect(new Set(told.map(({ status, body }) => `${status} ${JSON.stringify(body)}`)).size).toBe(1);
  const again = await place(good, 'twenty');
  expect([again.status, again.body]).toEqual([202, told[0]!.body]);
});

test('calls with the key of a running call answer 409 of their own type, and repeat its answer later', async () => {
  const failpoints = 'local-message.appended=1*delay(6000)';
  const [slow] = (await shop.start(['order'], { failpoints, label: 'slow' })) as [AppProcess];
  const running = place(good, 'busy', slow.url);
  await until('the first call is under way', () => slow.hits().includes('local-message.appended'));
  const early = await Promise.all([
    place(good, 'busy'),
    place(good, 'busy', slow.url),
    place({ ...good, quantity: 2 }, 'busy'),
  ]);
  for (const answer of early) {
    const { type, orderId } = expectProblem(answer, 409);
    expect(type).toBe('urn:nest-dtx:idempotency-key-busy');
    expect(orderId).toBeUndefined(); // a refusal would have one
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
  }
  const first = await running;
  expect(first.status).toBe(202);
  expect((await place(good, 'busy')).body).toEqual(first.body);
  expectProblem(await place({ ...good, quantity: 2 }, 'busy'), 422);
});

test('a caller that hung up gets the outcome by the same key', async () => {
  const [slow] = await shop.start(['order'], { failpoints: 'local-message.appended=1*delay(1500)', label: 'slower' });
  const headers = { 'content-type': 'application/json', 'idempotency-key': 'hung-up' };
  const init = { method: 'POST', headers, body: JSON.stringify(good), signal: AbortSignal.timeout(500) };
  await expect(fetch(`${slow!.url}/orders`, init)).rejects.toThrow();
  const found = await until('the call is over', async () => {
    const answer = await place(good, 'hung-up');
    return answer.status === 202 && answer;
  });
  expect(await shop.settled(found.body.orderId)).toMatchObject({ status: 'CONFIRMED' });
});

test('one settled purchase exists for each key, and no log has an error or a stack trace', async () => {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  const orders = await sql<{ id: string }>(sandbox, 'order', 'SELECT order_id AS id FROM orders');
  expect(new Set(orders.map(({ id }) => id))).toEqual(accepted);
  const rows = await sql<{ k: Buffer }>(sandbox, 'order', 'SELECT idempotency_key AS k FROM dtx_idempotency');
  expect(new Set(rows.map(({ k }) => k.toString()))).toEqual(keys);
  expect(troubleIn(shop.instances)).toEqual([]);
});
