import request from 'supertest';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { troubleIn } from '../fixtures/app-logs.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { type AppName, auditOf, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';

let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('http_accounts_and_stock');
  shop = new Stack(sandbox);
  await shop.start();
  await shop.account('alice', 10_000_000);
  await shop.stock('book', 1_000);
});

afterAll(() => shop?.stop());

const get = (app: AppName, path: string) => request(shop.of(app).url).get(path);
const put = (app: AppName, path: string, body: unknown) =>
  request(shop.of(app).url)
    .put(path)
    .set('content-type', 'application/json')
    .send(typeof body === 'string' ? body : JSON.stringify(body));

describe('accounts and stock', () => {
  test('accounts and stock have the values that were set', async () => {
    const buyer = encodeURIComponent(`O'Neil / 💰`);
    for (const balance of [0, 1_000_000_000_000]) {
      const account = { buyerId: `O'Neil / 💰`, balance, frozen: 0 };
      expect((await put('payment', `/accounts/${buyer}`, { balance }).expect(200)).body).toEqual(account);
      expect((await get('payment', `/accounts/${buyer}`).expect(200)).body).toEqual(account);
    }
    for (const available of [0, 1_000_000]) {
      const stock = { sku: 'item-0042', available, reserved: 0, sold: 0 };
      expect((await put('inventory', '/stock/item-0042', { available }).expect(200)).body).toEqual(stock);
      expect((await get('inventory', '/stock/item-0042').expect(200)).body).toEqual(stock);
    }
  });

  const values = ['-1', '1.5', '1e400', '1000000000001', '9007199254740993', '"1"', 'null', 'true', '[]', '{}'];
  const cases = [
    ['payment', '/accounts/alice', 'balance'],
    ['inventory', '/stock/book', 'available'],
  ] as const;
  test.each(cases.flatMap(([app, path, field]) => values.map((value) => [app, path, field, value] as const)))(
    '%s %s answers 400 if %s is %s',
    async (app, path, field, value) => {
      expectProblem(await put(app, path, `{"${field}":${value}}`), 400, field);
    },
  );

  test.each(cases)(
    '%s %s answers 400 for a body that is missing, of another kind or with more fields',
    async (app, path, field) => {
      for (const body of ['', 'null', '[]', '7', '{']) expectProblem(await put(app, path, body), 400, 'body');
      expectProblem(await put(app, path, '{}'), 400, field);
      expectProblem(await put(app, path, { [field]: 1, frozen: 1 }), 400, 'frozen');
      expectProblem(await put(app, path, { [field]: 1, x: 'x'.repeat(100_000) }), 413);
    },
  );

  test('accounts and stock follow the rules for names of purchases', async () => {
    for (const name of ['x'.repeat(65), '%00', encodeURIComponent('🦊'.repeat(65))]) {
      expectProblem(await put('payment', `/accounts/${name}`, { balance: 1 }), 400, 'path.buyerId');
      expectProblem(await get('payment', `/accounts/${name}`), 400, 'path.buyerId');
    }
    for (const sku of ['car', 'Book', '__proto__']) {
      expectProblem(await put('inventory', `/stock/${sku}`, { available: 1 }), 400, 'path.sku');
    }
  });
});

test('the refused calls have changed nothing, and no log has an error or a stack trace', async () => {
  const report = await auditOf(sandbox);
  expect(report.checks.flatMap((check) => check.violations)).toEqual([]);
  const accounts = await sql(sandbox, 'payment', 'SELECT buyer_id AS b FROM account ORDER BY b');
  expect(accounts).toEqual([{ b: `O'Neil / 💰` }, { b: 'alice' }]);
  expect((await sql(sandbox, 'inventory', 'SELECT sku FROM stock')).length).toBe(2);
  expect(troubleIn(shop.instances)).toEqual([]);
});
