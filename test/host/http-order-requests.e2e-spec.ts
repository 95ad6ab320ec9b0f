import { request as httpRequest } from 'node:http';
import request from 'supertest';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { troubleIn } from '../fixtures/app-logs.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Answer, call, Stack } from '../fixtures/three-apps.js';

let sandbox: Sandbox;
let shop: Stack;
/** Every purchase that was accepted: at the end there are these and no others. */
const accepted = new Set<string>();

beforeAll(async () => {
  sandbox = await freshSandbox('http_contract');
  shop = new Stack(sandbox);
  await shop.start();
  await shop.account('alice', 1_000_000_000);
  await shop.stock('book', 10_000);
});

afterAll(() => shop?.stop());

const good = { buyerId: 'alice', sku: 'book', quantity: 1 };
const url = 'http://merchant.example/results';
/** The good body as text, with something put in that JSON.stringify would not write. */
const withQuantity = (text: string) => `{"buyerId":"alice","sku":"book","quantity":${text}}`;
const withMore = (text: string) => `{"buyerId":"alice","sku":"book","quantity":1,${text}}`;

/** Sends text and bytes as they are, anything else as JSON. */
async function place(body: unknown, type: string | null = 'application/json'): Promise<Answer> {
  const bytes = body instanceof Uint8Array ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const headers: Record<string, string> = type === null ? {} : { 'content-type': type };
  const answer = await call(`${shop.of('order').url}/orders`, { method: 'POST', headers, body: new Uint8Array(bytes) });
  if (answer.status < 300) accepted.add(String(answer.body.orderId));
  return answer;
}

describe('POST /orders takes', () => {
  test.each<[string, unknown]>([
    ['the most pieces', { ...good, quantity: 1_000 }],
    ['a whole number written as 1.0', withQuantity('1.0')],
    ['a notifyUrl', { ...good, notifyUrl: `${url}?shop=1#x` }],
    ['a notifyUrl of 2,048 characters', { ...good, notifyUrl: `${url}?${'x'.repeat(2_047 - url.length)}` }],
    ['a buyer of 64 emoji', { ...good, buyerId: '🦊'.repeat(64) }],
    ['a buyer with quotes and blanks', { ...good, buyerId: ` O'Neil \\ "x"; -- ` }],
    ['the last item of the price list', { ...good, sku: 'item-1000' }],
    ['a body with white space around it', ` \n${JSON.stringify(good)}\r\n `],
  ])('%s', async (_, body) => {
    const { status, body: placed, headers } = await place(body, 'application/json; charset=utf-8');
    expect(status).toBe(202);
    const { quantity, buyerId, sku } = typeof body === 'string' ? JSON.parse(body) : (body as typeof good);
    expect(placed).toMatchObject({ scheme: 'local-message', status: 'PENDING', buyerId, sku, quantity });
    expect(placed.updatedAt).toBe(placed.createdAt);
    expect(headers.get('location')).toBe(`${shop.of('order').url}/orders/${placed.orderId}`);
    const read = await request(headers.get('location')!).get('').expect(200);
    expect(read.body).toMatchObject({ orderId: placed.orderId, buyerId, sku, quantity, amount: placed.amount });
  });
});

/** Rows for a field that is given each of these values. */
const wrong = (field: string, values: unknown[]): Array<[string, unknown, string]> =>
  values.map((value) => [`${field} ${JSON.stringify(value)}`.slice(0, 40), { ...good, [field]: value }, field]);

describe('POST /orders answers 400 and says why for', () => {
  test.each<[string, unknown, string]>([
    ['an empty body', '', 'body'],
    ['null', 'null', 'body'],
    ['an array', [good], 'body'],
    ['a text', '"alice"', 'body'],
    ['a number', '7', 'body'],
    ['JSON that ends too early', '{"buyerId":"alice"', 'body'],
    ['JSON with a comma too many', '{"buyerId":"alice",}', 'body'],
    ['no JSON', 'buyerId=alice', 'body'],
    ['bytes that are not UTF-8', new Uint8Array([0x7b, 0xff, 0xfe, 0x7d]), 'body'],
    ['JSON nested 30,000 deep', `{"buyerId":${'['.repeat(30_000)}${']'.repeat(30_000)}}`, 'buyerId'],
    ['a key __proto__', withMore('"__proto__":{"admin":true}'), 'body'],
    ['a key constructor.prototype', withMore('"constructor":{"prototype":{"admin":true}}'), 'body'],
    ['an empty object', {}, 'quantity'],
    ...['buyerId', 'sku', 'quantity'].flatMap((field) => wrong(field, [undefined])),
    ...wrong('qty', [1]),
    ...wrong('amount', [1]),
    ...wrong('buyerId', [null, 7, true, ['alice'], { name: 'alice' }, '', 'x'.repeat(65), '🦊'.repeat(65), 'a\0b']),
    ['a buyer with half a surrogate pair', withMore('"x":1').replace('alice', '\\ud83e'), 'buyerId'],
    ...wrong('sku', [null, 7, ['book'], {}, '', 'car', 'Book', 'book ', 'item-0000', 'item-1001', 'item-1']),
    ...wrong('sku', ['constructor', '__proto__', 'bo\0ok', 'x'.repeat(50_000)]),
    ...wrong('quantity', [0, -1, 1_001, 1.5, 2 ** 53, '1', '', null, true, [1], {}]),
    ...['-0', '1e400', '-1e400', '1e4', '1e-3', '9007199254740993'].map((text): [string, unknown, string] => [
      `quantity ${text}`,
      withQuantity(text),
      'quantity',
    ]),
    ...wrong('notifyUrl', [null, 7, ['http://x/y'], '', 'merchant.example', '/results', '//x/y', 'http://']),
    ...wrong('notifyUrl', ['ftp://x/y', 'file:///etc/passwd', 'javascript:alert(1)', 'http://a b/', 'http://a/\0']),
    ...wrong('notifyUrl', [`${url}/${'x'.repeat(2_048)}`]),
  ])('%s', async (_, body, field) => {
    const problem = expectProblem(await place(body), 400, field);
    expect(JSON.stringify(problem).length).toBeLessThan(4_000);
  });

  test('POST /orders names every mistake of a body with several', async () => {
    const { errors } = expectProblem(await place({ buyerId: 7, sku: 'car', qty: 1 }), 400);
    expect(errors?.map(({ field }) => field).sort()).toEqual(['buyerId', 'qty', 'quantity', 'sku']);
  });

  test('POST /orders names some of a thousand unknown fields', async () => {
    const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`field-${i}`, i]));
    const problem = expectProblem(await place({ ...good, ...many }), 400, 'field-0');
    expect(JSON.stringify(problem).length).toBeLessThan(4_000);
  });
});

describe('a body that is not even read', () => {
  test('a body of 100,000 bytes answers 413', async () => {
    const body = { ...good, buyerId: 'x'.repeat(100_000) };
    expectProblem(await request(shop.of('order').url).post('/orders').send(body), 413);
  });

  test.each([
    ['of 5,000,000 bytes is 413 as soon as it says so', { 'content-length': '5000000' }],
    ['that comes without a length is 413 as soon as it is too long', { 'transfer-encoding': 'chunked' }],
  ])('%s', async (_, length) => {
    const answer = await new Promise<Pick<Answer, 'status' | 'body'> & { headers: Headers }>((resolve, reject) => {
      const headers = { 'content-type': 'application/json', ...length };
      const sending = httpRequest(`${shop.of('order').url}/orders`, { method: 'POST', headers }, async (response) => {
        const text = Buffer.concat(await response.toArray()).toString();
        const type = response.headers['content-type'] ?? '';
        resolve({
          status: response.statusCode!,
          body: JSON.parse(text),
          headers: new Headers({ 'content-type': type }),
        });
        sending.destroy();
      });
      sending.on('error', reject);
      sending.write(' '.repeat(80_000)); // and no end
    });
    expectProblem(answer, 413);
  });

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/xml',
    'application/jsonx',
    'application/vnd.api+json',
    'nonsense',
    null,
  ])('a body of type %s answers 415', async (type) => {
    expectProblem(await place(good, type), 415);
  });

  test('a PUT with another media type answers 415', async () => {
    for (const [app, path] of [
      ['payment', '/accounts/alice'],
      ['inventory', '/stock/book'],
    ] as const) {
      const init = { method: 'PUT', headers: { 'content-type': 'text/plain' }, body: '{"balance":1,"available":1}' };
      expectProblem(await call(`${shop.of(app).url}${path}`, init), 415);
    }
  });
});

test('only the accepted purchases exist, settled, and no log has an error or a stack trace', async () => {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  expect(report.ok).toBe(true);
  const orders = await sql<{ id: string }>(sandbox, 'order', 'SELECT order_id AS id FROM orders');
  expect(new Set(orders.map(({ id }) => id))).toEqual(accepted);
  const [{ messages }] = await sql<{ messages: number }>(
    sandbox,
    'order',
    `SELECT COUNT(*) AS messages FROM dtx_outbox WHERE contract = 'order.placed'`,
  );
  expect(Number(messages)).toBe(accepted.size);
  expect(troubleIn(shop.instances)).toEqual([]);
});
