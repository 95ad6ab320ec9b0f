import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Answer, call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

/** The limits of apps/order/src/long-poll-quota.ts. */
const CALLER_MAX = 200;
/** Some are refused at once, also if a short poll has a place at that moment. */
const SURPLUS = 10;
const CALLERS = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5'];
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('http_long_polls', { audited: false });
  shop = new Stack(sandbox, { env: { DTX_TRUST_PROXY: '127.0.0.0/8' } });
  await shop.start(['order']);
});

afterAll(() => shop?.stop());

const poll = (orderId: string, caller: string, waitMs = 30_000) =>
  call(`${shop.of('order').url}/orders/${orderId}?waitMs=${waitMs}`, { headers: { 'x-forwarded-for': caller } });

/** The answer to a very short poll, once it is a refusal with this status. */
const refusalOf = (orderId: string, caller: string, status: number): Promise<Answer> =>
  until(`${caller} is refused with ${status}`, async () => {
    const answer = await poll(orderId, caller, 1);
    return answer.status === status && answer;
  });

test('each caller has a share of the long polls, and all that wait are answered as soon as their order is final', async () => {
  // No other app runs, so the order stays PENDING.
  const { orderId } = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 });
  const waiting: Promise<Answer>[] = [];
  for (const caller of CALLERS) {
    for (let n = 0; n < CALLER_MAX + SURPLUS; n++) waiting.push(poll(orderId, caller));
    const refused = await refusalOf(orderId, caller, 429);
    expectProblem(refused, 429);
    expect(refused.headers.get('retry-after')).toBe('2');
  }
  expectProblem(await refusalOf(orderId, '10.0.0.6', 503), 503);
  expect((await call(`${shop.of('order').url}/orders/${orderId}`)).body.status).toBe('PENDING');

  await sql(sandbox, 'order', `UPDATE orders SET status = 'CONFIRMED' WHERE order_id = ?`, [orderId]);
  const answers = await Promise.all(waiting);
  const waited = answers.filter(({ status }) => status !== 429);
  expect(waited).toHaveLength(CALLERS.length * CALLER_MAX);
  expect(new Set(waited.map(({ status, body }) => `${status} ${body.status}`))).toEqual(new Set(['200 CONFIRMED']));
  expect((await poll(orderId, CALLERS[0]!)).body.status).toBe('CONFIRMED');
});
