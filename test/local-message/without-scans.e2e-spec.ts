import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditOf, freshSandbox } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';

const PURCHASES = 20;
/** Longer than the test: a step that waited for a scan, or for a lease that a scan finds expired, would never come. */
const NEVER_MS = 600_000;
let shop: Stack;

beforeAll(async () => {
  const core = { scanIntervalMs: NEVER_MS, leaseMs: NEVER_MS };
  shop = new Stack(await freshSandbox('local_message_without_scans'), { options: { core } });
  await shop.start();
  await shop.account('alice', 10_000_000);
  await shop.stock('book', 1_000);
});

afterAll(() => shop?.stop());

test('a purchase settles without a scan, because each commit sends its own messages', async () => {
  for (let i = 0; i < PURCHASES; i++) {
    const { orderId } = await shop.order({ buyerId: 'alice', sku: 'book', quantity: 1 });
    expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
  }
  expect((await auditOf(shop.sandbox)).checks.flatMap(({ violations }) => violations)).toEqual([]);
});
