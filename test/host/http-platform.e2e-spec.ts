import request from 'supertest';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { troubleIn } from '../fixtures/app-logs.js';
import { AppProcess } from '../fixtures/app-process.js';
import { expectProblem, headerOf } from '../fixtures/expect-problem.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { APPS, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const UNKNOWN_ID = '01976d2e-8c1b-7d3a-9f00-5a1c2b3d4e5f';
const NOBODY_LISTENS = '127.0.0.1:1';
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('http_platform', { audited: false });
  shop = new Stack(sandbox);
  await shop.start();
  await shop.stock('book', 7);
});

afterAll(() => shop?.stop());

const get = (app: AppName, path: string) => request(shop.of(app).url).get(path);

describe('a missing resource', () => {
  const ids = [
    UNKNOWN_ID,
    UNKNOWN_ID.toUpperCase(),
    'x',
    '0',
    '__proto__',
    'x'.repeat(1_000),
    "' OR 1=1--",
    '\0',
    '💰',
  ];
  test.each(ids)('GET answers 404 for the order and the payment %j', async (id) => {
    expectProblem(await get('order', `/orders/${encodeURIComponent(id)}`), 404);
    expectProblem(await get('payment', `/payments/${encodeURIComponent(id)}`), 404);
  });

  test.each<[AppName, string]>([
    ['payment', '/accounts/stranger'],
    ['payment', '/accounts/Book'],
    ['inventory', '/stock/mug'],
    ['inventory', '/stock/car'],
    ['inventory', '/stock/book%20'],
    ['inventory', '/stock/__proto__'],
    ['inventory', `/stock/${'x'.repeat(500)}`],
    ...APPS.flatMap((app) =>
      ['/', '/nothing', '/nothing?a=%ff', '/health', '/dtx', '/..%2f..%2fetc%2fpasswd'].map(
        (path): [AppName, string] => [app, path],
      ),
    ),
  ])('%s %s', async (app, path) => {
    expectProblem(await get(app, path), 404);
  });

  test('every method answers 404 at an unknown path', async () => {
    for (const body of ['{', 'x'.repeat(100_000)]) {
      const response = await request(shop.of('order').url)
        .post('/nothing')
        .set('content-type', 'application/json')
        .send(body);
      expectProblem(response, 404);
    }
  });

  test.each<[AppName, string]>([
    ['order', '/orders/%'],
    ['order', '/orders/%zz'],
    ['payment', '/accounts/%ED%A0%80'],
    ['inventory', '/stock/%ff'],
  ])('a path that cannot be decoded answers 400: %s %s', async (app, path) => {
    expectProblem(await get(app, path), 400);
  });

  test.each([
    ['order', 'delete', '/orders', 'GET, HEAD, POST'],
    ['order', 'put', `/orders/${UNKNOWN_ID}`, 'GET, HEAD'],
    ['payment', 'post', '/accounts/alice', 'GET, HEAD, PUT'],
    ['inventory', 'patch', '/stock/book', 'GET, HEAD, PUT'],
  ] as const)('a method that the path does not have answers 405: %s %s %s', async (app, method, path, allow) => {
    const response = await request(shop.of(app).url)[method](path).send({ any: 'thing' });
    expectProblem(response, 405);
    expect(response.headers.allow).toBe(allow);
  });
});

test('GET /catalog lists every sku with its price, and the stock if it is known', async () => {
  const book = await until('the hint arrives', async () => {
    const { body } = await get('order', '/catalog').expect(200);
    expect(body).toHaveLength(1_003);
    return body.find(({ sku, stock }: { sku: string; stock: object | null }) => sku === 'book' && stock);
  });
  expect(book).toEqual({ sku: 'book', price: 1_999, stock: { available: 7, asOf: expect.any(String) } });
  const { body } = await get('order', '/catalog');
  const byName = new Map(body.map((item: { sku: string }) => [item.sku, item]));
  expect(byName.get('phone')).toEqual({ sku: 'phone', price: 299_900, stock: null });
  expect(byName.get('mug')).toMatchObject({ price: 990 });
  expect(byName.get('item-1000')).toMatchObject({ price: 100 });
});

describe.each(APPS)('the %s app', (app) => {
  test('the app is live and ready with nothing degraded', async () => {
    await get(app, '/health/live').expect(200);
    expect((await get(app, '/health/ready').expect(200)).body).toMatchObject({ degraded: [] });
  });

  test('the app serves metrics in the format of Prometheus', async () => {
    const { text, headers } = await get(app, '/metrics').expect(200);
    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(text).toMatch(/^dtx_broker_up 1$/m);
    for (const line of text.split('\n').filter((one) => one && !one.startsWith('#'))) {
      expect(line).toMatch(/^[a-z_]\w*(\{[^}]*\})? (-?[\d.]+(e[+-]?\d+)?|NaN|[+-]Inf)$/i);
    }
  });

  test('the app serves a page and a document of its API that lists its problems', async () => {
    const page = await get(app, '/docs').redirects(1);
    expect([page.status, page.type]).toEqual([200, 'text/html']);
    const { body } = await get(app, '/docs-json').expect(200);
    expect(body.openapi).toMatch(/^3\./);
    const paths = {
      order: ['/orders', '/orders/{orderId}', '/catalog'],
      payment: ['/accounts/{buyerId}', '/payments/{orderId}'],
      inventory: ['/stock/{sku}'],
    }[app];
    for (const path of [...paths, '/health/live', '/health/ready', '/metrics']) {
      expect(Object.keys(body.paths)).toContain(path);
    }
    for (const path of paths) {
      for (const call of Object.values<{ responses: object; requestBody?: object }>(body.paths[path])) {
        const statuses = Object.keys(call.responses);
        expect(statuses).toContain('503');
        if (call.requestBody) expect(statuses).toEqual(expect.arrayContaining(['400', '413', '415']));
      }
    }
  });
});

describe('an app without one of its servers', () => {
  const without = async (env: Record<string, string>) => {
    const started = AppProcess.spawn('order', { sandbox, env, options: { core: { reconnect: { capMs: 200 } } } });
    shop.instances.push(started);
    await started.untilListening();
    return request(started.url);
  };

  test('an app without its database is live but not ready, and calls that need it answer 503 with Retry-After', async () => {
    const order = await without({ DTX_DATABASE_URL: `mysql://root:s3cr3t@${NOBODY_LISTENS}/shop` });
    await order.get('/health/live').expect(200);
    const place = order.post('/orders').send({ buyerId: 'alice', sku: 'book', quantity: 1 });
    const dtx = order.get('/dtx/summary').set('authorization', 'Bearer test-admin-token');
    const all = [
      order.get('/health/ready'),
      place,
      order.get('/orders'),
      order.get(`/orders/${UNKNOWN_ID}`),
      order.get('/catalog'),
      dtx,
    ];
    for (const response of await Promise.all(all)) {
      expectProblem(response, 503);
      expect(Number(headerOf(response, 'retry-after'))).toBeGreaterThan(0);
    }
  });

  test('an app without the broker is ready, lists it as degraded, and accepts a purchase that settles later', async () => {
    const order = await without({ DTX_RABBITMQ_URL: `amqp://dtx:s3cr3t@${NOBODY_LISTENS}/shop` });
    await until('its database is open', async () => (await order.get('/health/ready')).status === 200);
    expect((await order.get('/health/ready')).body).toMatchObject({ degraded: ['rabbitmq'] });
    const placed = await order.post('/orders').send({ buyerId: 'stranger', sku: 'book', quantity: 1 }).expect(202);
    expect((await order.get('/metrics')).text).toMatch(/^dtx_broker_up 0$/m);
    // An instance with a broker takes it over once the lease has run out.
    expect(await shop.settled(placed.body.orderId)).toMatchObject({ status: 'CANCELLED', reason: 'UNKNOWN_BUYER' });
  });
});

test('no log has an error, a stack trace or a password', async () => {
  expect(troubleIn(shop.instances)).toEqual([]);
  for (const instance of shop.instances) expect(instance.log()).not.toContain('s3cr3t');
  const [{ orders }] = await sql<{ orders: number }>(sandbox, 'order', 'SELECT COUNT(*) AS orders FROM orders');
  expect(Number(orders)).toBe(1);
});
