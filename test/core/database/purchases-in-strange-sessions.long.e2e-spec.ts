import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditOf, freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { Stack } from '../../fixtures/three-apps.js';
import { prepareStrange, strangeSandbox } from './strange-session-accounts.js';

/** The three apps on servers whose sessions are not what they ask for. */
const BUYER = `o'brien \\' " --`;
const SCHEMES = [
  ['order', '/orders'],
  ['order', '/orders/xa'],
  ['payment', '/checkouts'],
  ['inventory', '/flash-sales'],
] as const;
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('strange_apps');
  await prepareStrange(sandbox);
});

describe.each([
  ['backslash', 'item-0001'],
  ['loose', 'item-0002'],
  ['latin', 'item-0003'],
  ['east', 'item-0004'],
  ['serial', 'item-0005'],
])('on servers whose sessions are %s', (name, sku) => {
  let shop: Stack;

  beforeAll(async () => {
    // Its copies come to their checks before the apps are stopped.
    shop = new Stack(strangeSandbox(sandbox, name), { options: { halfMessage: { levelsMs: [300] } } });
    await shop.start();
    await shop.account(BUYER, 1_000_000);
    await shop.stock(sku, 10);
  });
  afterAll(() => shop?.stop());

  test.each(SCHEMES)('a purchase at %s%s is made once and keeps its names', async (app, path) => {
    const key = `${name}${path}\\'OR"1"=1--\\`;
    const body = { buyerId: BUYER, sku, quantity: 1 };
    const buy = () => shop.send(app, 'POST', path, body, { 'idempotency-key': key });
    const { status, body: purchase } = await buy();
    expect([201, 202], JSON.stringify(purchase)).toContain(status);
    const orderId = String(purchase.orderId);
    expect((await buy()).body.orderId).toBe(orderId);
    expect((await buy()).body.buyerId).toBe(BUYER);
    expect((await shop.settled(orderId)).status).toBe('CONFIRMED');
    const rows = await sql(sandbox, 'order', 'SELECT buyer_id FROM orders WHERE order_id = ?', [orderId]);
    expect(rows).toEqual([{ buyer_id: BUYER }]);
  });

  test('no other purchase exists, and every invariant holds', async () => {
    expect((await shop.get('inventory', `/stock/${sku}`)).body.available).toBe(10 - SCHEMES.length);
    const report = await auditOf(sandbox);
    expect(report.checks.flatMap(({ violations }) => violations)).toEqual([]);
  });
});
