import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signatureHeaders } from '../../libs/dtx/src/notify/signature.js';
import { type ApiDocument, dereferenced, differencesOf, type Operation } from '../fixtures/api-document-comparison.js';
import { ADMIN_TOKEN } from '../fixtures/app-process.js';
import { NOTIFY_SECRET } from '../fixtures/notifying-shop.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { APPS, Stack } from '../fixtures/three-apps.js';

const UNKNOWN_ID = '01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f';
const CONSUMER = { order: 'order.confirm', payment: 'payment.take-money', inventory: 'inventory.take-stock' };
const SETTLED = 'settled-one';
let sandbox: Sandbox;
let shop: Stack;
let orderId: string;
let checkoutId: string;

beforeAll(async () => {
  sandbox = await freshSandbox('http_document', { audited: false });
  shop = new Stack(sandbox, { env: { DTX_NOTIFY_SECRET: NOTIFY_SECRET } });
  await shop.start();
  await shop.account('alice', 1_000_000);
  await shop.stock('book', 1_000);
  ({ orderId } = (await shop.settled(
    (
      await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 })
    ).orderId,
  )) as never);
  const checkout = await shop.send('payment', 'POST', '/checkouts', { buyerId: 'alice', sku: 'book', quantity: 1 });
  checkoutId = String(checkout.body.orderId);
  for (const app of APPS) await leaveWork(app);
});

afterAll(() => shop?.stop());

/** Three parked deliveries, of which one is left alone, a settled one, a delayed message, and an alert. */
async function leaveWork(app: AppName): Promise<void> {
  const columns = 'id, message_id, consumer, gid, scheme, type, state, next_attempt_at, created_at, body';
  for (const id of ['parked-1', 'parked-2', 'parked-3', SETTLED]) {
    const [state, due] = id === SETTLED ? ['HANDLED', null] : ['PARKED', '9999-12-31'];
    await sql(
      sandbox,
      app,
      `INSERT INTO dtx_inbox (${columns}) VALUES (?, ?, ?, 'g', 'xa', 'order.placed.v1', ?, ?, UTC_TIMESTAMP(3), 'x')`,
      [id, id, CONSUMER[app], state, due],
    );
  }
  await sql(
    sandbox,
    app,
    `INSERT INTO dtx_outbox (id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at)
     VALUES ('delayed-1', 'g', 'order.expired', 1, '{}', ',order.expire,', 'SCHEDULED', '9000-01-01', '9000-01-01')`,
  );
  await sql(
    sandbox,
    app,
    `INSERT INTO dtx_alert (id, open_key, scheme, subject_id, gid, step, alert_error, state, opened_at)
     VALUES (?, 'xa:parked-3', 'xa', 'parked-3', 'g', 'handling', 'out of order', 'LOGGED', UTC_TIMESTAMP(3))`,
    [UNKNOWN_ID],
  );
}

interface Given {
  readonly path?: string;
  readonly query?: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
}

/** The body of a good call, where the example of the document does not do. */
const BODIES: Record<string, unknown> = {
  'post /dtx/transactions/{id}/resolve': { outcome: 'done', note: 'by the test' },
  'post /dtx/transactions/{id}/retry': {},
  'post /dtx/transactions/{id}/reschedule': { dueInMs: 3_600_000 },
  'post /dtx/transactions/retry': { scheme: 'tcc', state: 'PARKED' },
};

/** Further calls that the business refuses. */
const REFUSED: Record<string, unknown[]> = {
  'post /orders/xa': [{ buyerId: 'stranger', sku: 'book', quantity: 1 }],
  'post /orders/saga': [{ buyerId: 'stranger', sku: 'book', quantity: 1 }],
  'post /checkouts': [{ buyerId: 'stranger', sku: 'book', quantity: 1 }],
  'post /flash-sales': [{ buyerId: 'alice', sku: 'phone', quantity: 1 }],
  'post /restocks': [
    { sku: 'mug', quantity: 1_000_000_000 },
    { sku: 'mug', quantity: 1 },
  ],
};

/** Statuses that need an outage, a race or a thousand calls. Other tests make them. */
const NOT_MADE =
  /^(post \/orders 409|get \/orders\/\{orderId\} 429|post \/checkouts 202|post \/orders\/saga 202|post \/dtx\/transactions\/retry 409|\S+ \/dtx\/\S+ 429|\S+ \S+\/payload 403|\S+ \S+ 503)$/;

function idOf(name: string): string {
  if (name.includes('/reschedule')) return 'delayed-1';
  return name.includes('/resolve') ? 'parked-1' : 'parked-2';
}

function parameterOf(app: AppName, operation: string, name: string): string {
  if (name === 'buyerId') return 'alice';
  if (name === 'sku') return 'book';
  if (operation.includes('/alerts/')) return UNKNOWN_ID;
  if (name === 'id') return idOf(operation);
  return app === 'payment' && operation.includes('/checkouts/') ? checkoutId : orderId;
}

function paymentResult(): Given {
  const data = { orderId, buyerId: 'alice', amount: 1_999, status: 'CAPTURED' };
  const body = JSON.stringify({ type: 'payment.captured', timestamp: new Date().toISOString(), data });
  const id = `${orderId}.CAPTURED`;
  return { body, headers: signatureHeaders({ id, body, secrets: [NOTIFY_SECRET], nowMs: Date.now() }) };
}

function goodCall(app: AppName, name: string, operation: Operation, document: ApiDocument): Given {
  if (name === 'post /payment-results') return paymentResult();
  const path = name.split(' ')[1]!.replace(/\{(\w+)\}/g, (_, parameter) => parameterOf(app, name, parameter));
  const schema =
    operation.requestBody && dereferenced(document, operation.requestBody.content['application/json']!.schema);
  const body = schema && JSON.stringify(BODIES[name] ?? schema.example);
  return { path, ...(body !== undefined && { body }) };
}

/** Mistakes that a caller can make with any call. Some do not matter for a call, and it then answers as usual. */
function badCalls(name: string, operation: Operation, good: Given): Given[] {
  const path = name.split(' ')[1]!;
  const calls: Given[] = [
    { ...good, query: '?nonsense=1' },
    { ...good, query: '?limit=0' },
    { ...good, headers: { ...good.headers, authorization: '' } },
    { ...good, headers: { ...good.headers, authorization: 'Bearer wrong' } },
    { ...good, headers: { ...good.headers, 'dtx-operator': 'x'.repeat(65) } },
    { ...good, headers: { ...good.headers, 'idempotency-key': 'a b' } },
    { ...good, headers: { ...good.headers, 'webhook-signature': 'v1,AAAA' } },
    { ...good, headers: { ...good.headers, 'webhook-signature': '' } },
    { ...good, headers: { ...good.headers, 'last-event-id': 'x'.repeat(65) } },
  ];
  if (path.includes('{'))
    for (const value of [
      '%ff',
      '%zz',
      'x'.repeat(2_000),
      'x'.repeat(65),
      UNKNOWN_ID,
      '%00',
      SETTLED,
      encodeURIComponent('ü'),
    ])
      calls.push({ ...good, path: path.replace(/\{\w+\}/, value) });
  if (operation.requestBody !== undefined) {
    for (const body of ['', '{', '[]', '{}', '{"nonsense":1}', `{"x":"${'x'.repeat(100_000)}"}`])
      calls.push({ ...good, body });
    calls.push({ ...good, headers: { ...good.headers, 'content-type': 'text/plain' } });
    calls.push({ ...good, headers: { ...good.headers, 'content-encoding': 'gzip' } });
    for (const refused of REFUSED[name] ?? []) calls.push({ ...good, body: JSON.stringify(refused) });
  }
  if (operation.parameters?.some((one) => one.name === 'Idempotency-Key')) {
    const key = { ...good.headers, 'idempotency-key': `of ${name}`.replaceAll(' ', '-') };
    const other = JSON.stringify({ ...JSON.parse(good.body!), quantity: 7 });
    calls.push({ ...good, headers: key }, { ...good, headers: key }, { ...good, headers: key, body: other });
  }
  return calls;
}

async function ask(app: AppName, name: string, { path, query = '', body, headers = {} }: Given) {
  const [method, pattern] = name.split(' ') as [string, string];
  const type: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
  const response = await fetch(`${shop.of(app).url}${path ?? pattern}${query}`, {
    method: method.toUpperCase(),
    headers: { authorization: `Bearer ${ADMIN_TOKEN}`, ...type, ...headers },
    ...(body !== undefined && { body }),
    redirect: 'manual',
  });
  const answerType = response.headers.get('content-type') ?? '';
  const text = answerType.startsWith('text/event-stream') ? await firstOf(response) : await response.text();
  return { status: response.status, type: answerType, text };
}

/** The first part of an answer without an end. */
async function firstOf(response: Response): Promise<string> {
  const reader = response.body!.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return Buffer.from(value ?? []).toString();
}

describe.each(APPS)('the API document of the %s app', (app) => {
  let document: ApiDocument;
  let operations: [string, Operation][];

  beforeAll(async () => {
    document = (await (await fetch(`${shop.of(app).url}/docs-json`)).json()) as ApiDocument;
    operations = Object.entries(document.paths).flatMap(([path, calls]) =>
      Object.entries(calls).map(([method, operation]): [string, Operation] => [`${method} ${path}`, operation]),
    );
    // Reads come first, as a bad call of a PUT may open the account that a read must not find.
    operations.sort(([one], [other]) => Number(other.startsWith('get ')) - Number(one.startsWith('get ')));
  });

  test('every answer to a good or a bad call is as documented, and every documented answer is given', async () => {
    const differences: string[] = [];
    const unseen: string[] = [];
    for (const [name, operation] of operations) {
      const good = goodCall(app, name, operation, document);
      const seen = new Set<number>();
      for (const given of [good, ...badCalls(name, operation, good)]) {
        const answer = await ask(app, name, given);
        seen.add(answer.status);
        const shown = JSON.stringify({ ...given, body: given.body?.slice(0, 50) }).slice(0, 200);
        for (const one of differencesOf(document, operation, answer)) differences.push(`${name} ${shown}: ${one}`);
      }
      for (const status of Object.keys(operation.responses))
        if (!seen.has(Number(status)) && !NOT_MADE.test(`${name} ${status}`)) unseen.push(`${name} ${status}`);
    }
    expect(differences).toEqual([]);
    expect(unseen).toEqual([]);
  });

  test('every path parameter is documented, and calls of /dtx need the admin token', () => {
    for (const [name, { parameters = [], security }] of operations) {
      const names = [...name.matchAll(/\{(\w+)\}/g)].map(([, one]) => one);
      expect(parameters.filter((one) => one.in === 'path').map((one) => one.name)).toEqual(names);
      expect(security !== undefined, name).toBe(name.includes(' /dtx/'));
    }
  });

  test('the operations of the library are documented', () => {
    const library = operations.filter(([name]) => / \/(dtx|health|metrics)/.test(name)).map(([name]) => name);
    expect(library.sort()).toEqual([
      'get /dtx/alerts',
      'get /dtx/events',
      'get /dtx/history',
      'get /dtx/retry',
      'get /dtx/summary',
      'get /dtx/topology',
      'get /dtx/traces/{gid}',
      'get /dtx/transactions',
      'get /dtx/transactions/{id}',
      'get /dtx/transactions/{id}/payload',
      'get /health/live',
      'get /health/ready',
      'get /metrics',
      'post /dtx/alerts/{id}/acknowledge',
      'post /dtx/transactions/retry',
      'post /dtx/transactions/{id}/reschedule',
      'post /dtx/transactions/{id}/resolve',
      'post /dtx/transactions/{id}/retry',
    ]);
  });
});
