import { afterAll, beforeAll, expect, test } from 'vitest';
import { untilSettled } from '../fixtures/purchase-checks.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('order_list');
  shop = new Stack(sandbox);
  await shop.start();
  await shop.stock('book', 1_000);
});

// The audit at the end of the run expects that no purchase is open.
afterAll(() => untilSettled(shop).finally(() => shop?.stop()));

test('purchases are listed newest first, in pages that neither skip nor repeat', async () => {
  for (let i = 0; i < 5; i++) await shop.order({ buyerId: 'pager', sku: 'book', quantity: 1 });
  const seen: string[] = [];
  let cursor = '';
  do {
    const { body } = await shop.get('order', `/orders?buyerId=pager&limit=2${cursor ? `&cursor=${cursor}` : ''}`);
    seen.push(...(body.items as Array<{ orderId: string }>).map((order) => order.orderId));
    cursor = String(body.nextCursor ?? '');
  } while (cursor);
  expect(new Set(seen).size).toBe(5);
  const all = (await shop.get('order', '/orders?buyerId=pager&limit=100')).body.items as Array<{ orderId: string }>;
  expect(seen).toEqual(all.map((order) => order.orderId));
});

test('a change of stock reaches the catalog', async () => {
  await shop.stock('item-0007', 7);
  const hint = await until('the hint arrives', async () => {
    const { body } = await shop.get('order', '/catalog');
    return (body as unknown as Array<{ sku: string; stock: { available: number } | null }>).find(
      (item) => item.sku === 'item-0007',
    )?.stock;
  });
  expect(hint.available).toBe(7);
});
