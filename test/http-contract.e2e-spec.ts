import request, { type Response } from 'supertest';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AppProcess } from './support/app-process.js';
import { troubleIn } from './support/logs.js';
import { expectProblem } from './support/problem.js';
import { call, Stack } from './support/stack.js';
import { until } from './support/until.js';
import { auditOf, freshWorld, sql, type World } from './support/world.js';

let world: World;
let shop: Stack;
/** Every purchase that was accepted: at the end there are these and no others. */
const accepted = new Set<string>();
const keysUsed = new Set<string>();

beforeAll(async () => {
  world = await freshWorld('http_contract');
  shop = new Stack(world, { options: { core: { lockWaitSeconds: 1 } } });
  await shop.start();
  await shop.account('alice', 10_000_000);
  await shop.stock('book', 1_000);
});

afterAll(() => shop?.stop());

const good = { buyerId: 'alice', sku: 'book', quantity: 1 };
const url = 'http://merchant.example/results';

/** Sends a body as it is when it is text, as JSON otherwise. */
async function place(
  body: unknown,
  headers: Record<string, string> = {},
  base = shop.of('order').url,
): Promise<Response> {
  const response = await request(base)
    .post('/orders')
    .set({ 'content-type': 'application/json', ...headers })
    .send(typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body));
  if (response.status < 300) {
    accepted.add(response.body.orderId);
    if (headers['idempotency-key']) keysUsed.add(headers['idempotency-key']);
  }
  return response;
}
const with_ = (more: string) => `{"buyerId":"alice","sku":"book","quantity":1,${more}}`;
const quantity = (text: string) => `{"buyerId":"alice","sku":"book","quantity":${text}}`;

describe('POST /orders takes', () => {
  test.each<[string, unknown]>([
    ['the least and the most pieces', { ...good, quantity: 1_000 }],
    ['a whole number written as 1.0 or 1e0', quantity('1.0')],
    ['a notifyUrl', { ...good, notifyUrl: `${url}?shop=1#x` }],
    ['a notifyUrl of 2,048 characters', { ...good, notifyUrl: `${url}?${'x'.repeat(2_047 - url.length)}` }],
    ['a buyer of 64 emoji', { ...good, buyerId: '🦊'.repeat(64) }],
    ['a buyer with quotes and blanks', { ...good, buyerId: ` O'Neil \\ "x"; -- ` }],
    ['the last item of the price list', { ...good, sku: 'item-1000' }],
    ['a body with white space around it', ` \n${JSON.stringify(good)}\r\n `],
  ])('%s', async (_, body) => {
    const { status, body: placed, headers } = await place(body, { 'content-type': 'application/json; charset=utf-8' });
    expect(status).toBe(202);
    const { quantity: pieces, buyerId, sku } = typeof body === 'string' ? JSON.parse(body) : (body as typeof good);
    expect(placed).toMatchObject({ scheme: 'local-message', status: 'PENDING', buyerId, sku, quantity: pieces });
    expect(headers.location).toBe(`${shop.of('order').url}/orders/${placed.orderId}`);
    const read = await request(headers.location!).get('').expect(200);
    expect(read.body).toMatchObject({ orderId: placed.orderId, buyerId, sku, quantity: pieces, amount: placed.amount });
  });
});

describe('POST /orders answers 400 and names the field for', () => {
  test.each<[string, unknown, string]>([
    ['an empty body', '', 'body'],
    ['null', 'null', 'body'],
    ['an array', [good], 'body'],
    ['a text', '"alice"', 'body'],
    ['a number', '7', 'body'],
    ['JSON that ends too early', '{"buyerId":"alice"', 'body'],
    ['JSON with a comma too many', '{"buyerId":"alice",}', 'body'],
    ['no JSON', 'buyerId=alice', 'body'],
    ['bytes that are no text', Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), 'body'],
    ['JSON nested 30,000 deep', `{"buyerId":${'['.repeat(30_000)}${']'.repeat(30_000)}}`, 'buyerId'],
    ['a key __proto__', with_('"__proto__":{"admin":true}'), 'body'],
    ['a key constructor.prototype', with_('"constructor":{"prototype":{"admin":true}}'), 'body'],
    ['an empty object', {}, 'quantity'],
    ['no buyer', { ...good, buyerId: undefined }, 'buyerId'],
    ['no sku', { ...good, sku: undefined }, 'sku'],
    ['no quantity', { ...good, quantity: undefined }, 'quantity'],
    ['a field that is not known', { ...good, qty: 1 }, 'qty'],
    ['a field of the answer', { ...good, amount: 1 }, 'amount'],
    ...[null, 7, true, ['alice'], { name: 'alice' }, '', 'x'.repeat(65), '🦊'.repeat(65)].map(
      (buyerId): [string, unknown, string] => [
        `buyerId ${JSON.stringify(buyerId).slice(0, 20)}`,
        { ...good, buyerId },
        'buyerId',
      ],
    ),
    ['a buyer with NUL', { ...good, buyerId: 'a\0b' }, 'buyerId'],
    ['a buyer with half a surrogate pair', with_('"x":1').replace('alice', '\\ud83e'), 'buyerId'],
    ...[
      null,
      7,
      ['book'],
      {},
      '',
      'car',
      'Book',
      'book ',
      'item-0000',
      'item-1001',
      'item-1',
      '__proto__',
      'x'.repeat(50_000),
    ].map((sku): [string, unknown, string] => [`sku ${JSON.stringify(sku).slice(0, 20)}`, { ...good, sku }, 'sku']),
    ...[
      '0',
      '-1',
      '-0',
      '1001',
      '1.5',
      '1e400',
      '-1e400',
      '1e3000',
      '9007199254740993',
      '"1"',
      'null',
      'true',
      '[1]',
      '{}',
      '""',
    ].map((text): [string, unknown, string] => [`quantity ${text}`, quantity(text), 'quantity']),
    ...[
      null,
      7,
      '',
      'merchant.example',
      '/results',
      '//x/y',
      'ftp://x/y',
      'file:///etc/passwd',
      'javascript:alert(1)',
      'http://',
      'http://a b/',
      `${url}/${'x'.repeat(2_048)}`,
      ['http://x/y'],
    ].map((notifyUrl): [string, unknown, string] => [
      `notifyUrl ${JSON.stringify(notifyUrl).slice(0, 25)}`,
      { ...good, notifyUrl },
      'notifyUrl',
    ]),
  ])('%s', async (_, body, field) => {
    const problem = expectProblem(await place(body), 400, field);
    expect(JSON.stringify(problem).length).toBeLessThan(4_000);
  });

  test('several mistakes at once: each of them', async () => {
    const { errors } = expectProblem(await place({ buyerId: 7, sku: 'car', qty: 1 }), 400);
    expect(errors?.map(({ field }) => field).sort()).toEqual(['buyerId', 'qty', 'quantity', 'sku']);
  });
});

describe('a body that is not read', () => {
  test.each([100_000, 5_000_000])('of %i bytes is 413', async (bytes) => {
    expectProblem(await place({ ...good, buyerId: 'x'.repeat(bytes) }), 413);
  });

  test('that comes in pieces, without a length, is 413 as well', async () => {
    const pieces = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 20; i++) controller.enqueue(new TextEncoder().encode(`${' '.repeat(9_999)}\n`));
        controller.close();
      },
    });
    const headers = { 'content-type': 'application/json' };
    const init = { method: 'POST', body: pieces, headers, duplex: 'half' } as RequestInit;
    expectProblem(await call(`${shop.of('order').url}/orders`, init), 413);
  });

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/xml',
    'application/jsonx',
    'application/vnd.api+json',
    'nonsense',
  ])('of type %s is 415', async (type) => {
    expectProblem(await place(JSON.stringify(good), { 'content-type': type }), 415);
  });

  test('without any type is 415', async () => {
    const body = new TextEncoder().encode(JSON.stringify(good));
    expectProblem(await call(`${shop.of('order').url}/orders`, { method: 'POST', body }), 415);
  });
});

describe('an Idempotency-Key', () => {
  test.each<[string, string]>([
    ['empty', ''],
    ['of 256 characters', 'k'.repeat(256)],
    ['with a blank', 'a b'],
    ['with a tab', 'a\tb'],
    ['with other letters', 'clé'],
  ])('that is %s is 400, and does nothing', async (_, key) => {
    expectProblem(await place(good, { 'idempotency-key': key }), 400, 'header.Idempotency-Key');
  });

  test('repeats status, body and place of the first answer, whatever the order of the fields', async () => {
    const headers = { 'idempotency-key': 'k'.repeat(255) };
    const first = await place(good, headers);
    await shop.settled(first.body.orderId);
    for (const body of [JSON.stringify(good), '{ "quantity":1, "sku":"book", "buyerId":"alice" }']) {
      const again = await place(body, headers);
      expect([again.status, again.body, again.headers.location]).toEqual([202, first.body, first.headers.location]);
    }
  });

  test('with another body is 422, and the purchase stays what it was', async () => {
    const headers = { 'idempotency-key': 'reused' };
    const first = await place(good, headers);
    for (const other of [
      { ...good, quantity: 2 },
      { ...good, buyerId: 'bob' },
      { ...good, notifyUrl: url },
    ]) {
      expectProblem(await place(other, headers), 422);
    }
    expect((await place(good, headers)).body).toEqual(first.body);
  });

  test('of a call that was wrong is still free, and capitals make another key', async () => {
    expectProblem(await place({ ...good, quantity: 0 }, { 'idempotency-key': 'free' }), 400);
    const [first, other] = [
      await place(good, { 'idempotency-key': 'free' }),
      await place(good, { 'idempotency-key': 'FREE' }),
    ];
    expect([first.status, other.status]).toEqual([202, 202]);
    expect(first.body.orderId).not.toBe(other.body.orderId);
  });

  test('whose first call is still running is 409 of a type of its own; later it repeats that call', async () => {
    const failpoints = 'local-message.appended=1*delay(6000)';
    const slow = await AppProcess.start('order', {
      world,
      failpoints,
      label: 'slow',
      options: { core: { lockWaitSeconds: 1 } },
    });
    shop.instances.push(slow);
    await shop.untilReady(slow);
    const headers = { 'idempotency-key': 'busy' };
    const running = place(good, headers, slow.url);
    await until('the first call is under way', () => slow.hits().includes('local-message.appended'));
    const early = await Promise.all([
      place(good, headers),
      place(good, headers, slow.url),
      place({ ...good, quantity: 2 }, headers),
    ]);
    const types = early.map((answer) => expectProblem(answer, 409).type);
    expect(new Set(types)).toEqual(new Set(['urn:nest-dtx:idempotency-key-busy']));
    const first = await running;
    expect(first.status).toBe(202);
    expect((await place(good, headers)).body).toEqual(first.body);
  });
});

test('all that leaves the accepted purchases, settled, and no error or stack trace in a log', async () => {
  const report = await auditOf(world, 30_000);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  const orders = await sql<{ order_id: string }>(world, 'order', 'SELECT order_id FROM orders');
  expect(new Set(orders.map((order) => order.order_id))).toEqual(accepted);
  const counts = `SELECT (SELECT COUNT(*) FROM dtx_outbox) AS messages, (SELECT COUNT(*) FROM dtx_idempotency) AS keys_`;
  const [{ messages, keys_ }] = await sql<{ messages: number; keys_: number }>(world, 'order', counts);
  expect([Number(messages), Number(keys_)]).toEqual([accepted.size, keysUsed.size]);
  expect(troubleIn(shop.instances)).toEqual([]);
});
