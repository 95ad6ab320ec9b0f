// kill -9 of the order app that holds the work: orders with their messages, committed and leased, none of them sent.
import { randomUUID } from 'node:crypto';
import { buyerOf, skuOf } from '../load.js';
import type { Finding } from '../report.js';
import type { Shop } from '../stage.js';
import { type PartOptions, secondsUntil } from './part.js';

const BATCH = 1_000;
/** The default lease of the library, in seconds. */
const LEASE_S = 5;
const FIRST_BOUND_MS = 60_000;
const BOUND_MS = 480_000;

export async function recovery({ stage, progress, quick }: PartOptions): Promise<Finding[]> {
  const purchases = quick ? 1_000 : 10_000;
  const shop = await stage.open('shop');
  try {
    progress.step(`${purchases} purchases in flight, then kill -9`);
    await shop.processes.kill('order');
    await addPurchases(shop, purchases);
    await lease(shop);
    const since = performance.now();
    shop.processes.start('order');
    const open = `SELECT 1 FROM orders WHERE status = 'PENDING' LIMIT 1`;
    const settled = `SELECT 1 FROM dtx_outbox WHERE contract = 'order.placed' AND sent_at IS NOT NULL LIMIT 1`;
    await secondsUntil(
      'the first retry',
      async () => (await shop.databases.query('order', settled)).length > 0,
      FIRST_BOUND_MS,
    );
    const first = (performance.now() - since) / 1_000;
    progress.step(`first retry after ${first.toFixed(1)} s`);
    await secondsUntil('the recovery', async () => (await shop.databases.query('order', open)).length === 0, BOUND_MS);
    const all = (performance.now() - since) / 1_000;
    return [
      { what: `first retry after kill -9 with ${purchases} purchases in flight`, value: first, unit: 's' },
      { what: `all ${purchases} settled`, value: all, unit: 's' },
    ];
  } finally {
    await shop.stop();
  }
}

/** As the app has committed them. */
async function addPurchases({ databases }: Shop, count: number): Promise<void> {
  for (let from = 0; from < count; from += BATCH) {
    const purchases = Array.from({ length: Math.min(BATCH, count - from) }, (_, n) => ({
      orderId: randomUUID(),
      scheme: 'local-message',
      buyerId: buyerOf(from + n),
      sku: skuOf(from + n),
      quantity: 1,
      amount: 100,
    }));
    const now = new Date();
    await databases.query(
      'order',
      'INSERT INTO orders (order_id, scheme, buyer_id, sku, quantity, amount, status, created_at, updated_at) VALUES ?',
      [purchases.map((one) => [...Object.values(one), 'PENDING', now, now])],
    );
    await databases.query(
      'order',
      `INSERT INTO dtx_outbox (id, gid, contract, version, payload, awaiting, state, next_attempt_at, claim_token, created_at) VALUES ?`,
      [
        purchases.map((one) => {
          const payload = JSON.stringify({ ...one, createdAt: now.toISOString() });
          const consumers = ',inventory.take-stock,';
          return [randomUUID(), one.orderId, 'order.placed', 1, payload, consumers, 'PENDING', now, randomUUID(), now];
        }),
      ],
    );
  }
}

/** The killed process held them all, with a lease that has just begun: the longest wait. */
async function lease({ databases }: Shop): Promise<void> {
  await databases.query(
    'order',
    `UPDATE dtx_outbox SET next_attempt_at = UTC_TIMESTAMP(3) + INTERVAL ${LEASE_S} SECOND WHERE state = 'PENDING'`,
  );
}
