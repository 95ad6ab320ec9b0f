import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { Target } from '../fixtures/notification-target.js';
import { NOTIFY_SECRET, notificationsOf, notifyingShop, resultsOf } from '../fixtures/notifying-shop.js';
import { auditOf, freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { call, type Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
let sandbox: Sandbox;
let shop: Stack;
let target: Target;

beforeAll(async () => {
  sandbox = await freshSandbox('notify_results');
  shop = await notifyingShop(sandbox);
  target = await Target.start();
  await shop.account('alice', 1_000_000);
  await shop.account('bob', 1);
  await shop.stock('book', 100);
});

afterAll(async () => {
  await shop?.stop();
  await target?.close();
});

const wanted = { buyerId: 'alice', sku: 'book', quantity: 1 };
const known = (orderId: string) =>
  until(`the merchant knows of ${orderId}`, async () => {
    const results = await resultsOf(sandbox, orderId);
    return results.length > 0 && results;
  });

describe('the merchant', () => {
  test('the merchant is notified once that a purchase through the local message table is CAPTURED', async () => {
    const { orderId } = await shop.order(wanted);
    expect(await known(orderId)).toEqual([{ status: 'CAPTURED', source: 'told' }]);
    expect(await notificationsOf(sandbox, orderId)).toMatchObject([{ id: `${orderId}.CAPTURED` }]);
  });

  test('the merchant is notified of a declined purchase', async () => {
    const { orderId } = await shop.order({ ...wanted, buyerId: 'bob' });
    expect(await known(orderId)).toEqual([{ status: 'DECLINED', source: 'told' }]);
  });

  test('the merchant is notified of a checkout by TCC', async () => {
    const { status, body } = await shop.send('payment', 'POST', '/checkouts', wanted);
    expect(status).toBe(201);
    expect(await known(String(body.orderId))).toEqual([{ status: 'CAPTURED', source: 'told' }]);
  });

  test.each([
    ['order', '/orders'],
    ['payment', '/checkouts'],
  ] as const)(
    'the notifyUrl of a purchase is notified instead, signed and with its trace: %s %s',
    async (app, path) => {
      const notifyUrl = target.url(`/of${path}`);
      const { body } = await shop.send(app, 'POST', path, { ...wanted, notifyUrl }, { traceparent: TRACEPARENT });
      const id = `${body.orderId}.CAPTURED`;
      const [told] = await until('the target is called', () => target.of(id).length > 0 && target.of(id));
      expect(told!.path).toBe(`/of${path}`);
      const { headers } = told!;
      const signed = `${id}.${headers['webhook-timestamp']}.${told!.body}`;
      const key = Buffer.from(NOTIFY_SECRET.slice(6), 'base64');
      expect(headers['webhook-signature']).toBe(`v1,${createHmac('sha256', key).update(signed).digest('base64')}`);
      expect(headers.traceparent).toContain(TRACEPARENT.slice(3, 35));
      expect(JSON.parse(told!.body.toString())).toEqual({
        type: 'payment.captured',
        timestamp: expect.any(String),
        data: { orderId: body.orderId, buyerId: 'alice', amount: 1_999, status: 'CAPTURED' },
      });
      expect(await resultsOf(sandbox, String(body.orderId))).toEqual([]);
    },
  );
});

describe('POST /payment-results', () => {
  const orderId = '01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f';
  const result = { orderId, buyerId: 'alice', amount: 1_999, status: 'CAPTURED' };
  const body = JSON.stringify(
    { type: 'payment.captured', timestamp: '2026-01-31T09:15:00.123Z', data: result },
    null,
    1,
  );
  const key = Buffer.from(NOTIFY_SECRET.slice(6), 'base64');
  const now = () => Math.floor(Date.now() / 1_000);
  const signature = (id: string, at: number, text: string, secret = key) =>
    `v1,${createHmac('sha256', secret).update(`${id}.${at}.${text}`).digest('base64')}`;
  const send = (text: string, headers: Record<string, string>) =>
    call(`${shop.of('order').url}/payment-results`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: text,
    });
  const headersOf = (id: string, at: number, signed: string) => ({
    'webhook-id': id,
    'webhook-timestamp': String(at),
    'webhook-signature': signed,
  });
  const id = `${orderId}.CAPTURED`;

  test('POST /payment-results answers 204 every time and has one effect', async () => {
    for (const at of [now(), now() - 60, now()]) {
      // A receiver with the new secret accepts an event that is signed with both.
      const both = `v1,${Buffer.alloc(32).toString('base64')} ${signature(id, at, body)}`;
      expect((await send(body, headersOf(id, at, both))).status).toBe(204);
    }
    expect(await resultsOf(sandbox, orderId)).toEqual([{ status: 'CAPTURED', source: 'told' }]);
  });

  const at = now();
  test.each<[string, Record<string, string>]>([
    ['without headers', {}],
    ['without a signature', { 'webhook-id': id, 'webhook-timestamp': String(at) }],
    ['with another secret', headersOf(id, at, signature(id, at, body, Buffer.from('another secret')))],
    ['over another body', headersOf(id, at, signature(id, at, `${body} `))],
    ['over another id', headersOf(id, at, signature(`${orderId}.DECLINED`, at, body))],
    ['over another time', headersOf(id, at, signature(id, at - 1, body))],
    ['of another version', headersOf(id, at, signature(id, at, body).replace('v1,', 'v2,'))],
    ['of an hour ago', headersOf(id, at - 3_600, signature(id, at - 3_600, body))],
    ['of the future', headersOf(id, at + 3_600, signature(id, at + 3_600, body))],
  ])('POST /payment-results answers 401 for %s', async (_, headers) => {
    expectProblem(await send(body, headers), 401);
  });

  test('POST /payment-results answers 400 for an id of another result', async () => {
    const other = `${orderId}.DECLINED`;
    expectProblem(await send(body, headersOf(other, at, signature(other, at, body))), 400, 'header.webhook-id');
  });
});

test('every invariant holds after the tests', async () => {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check: { violations: string[] }) => check.violations)).toEqual([]);
  expect(report.checks.map(({ name }: { name: string }) => name)).toContain('notifications');
});
