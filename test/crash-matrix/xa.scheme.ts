import { expect } from 'vitest';
import { until } from '../fixtures/until.js';
import { sql } from '../fixtures/world.js';
import { decisions, witnesses } from '../xa/shop.js';
import type { Scheme } from './row.js';
import { post } from './run-case.js';

/** Every purchase is CONFIRMED in the end, whoever died: what had not been decided is made anew with the same key. */
export const xa: Scheme = {
  app: 'order',
  path: '/orders/xa',

  passed: async ({ world }, gid) => (await decisions(world, gid)).some(({ state }) => state === 'DONE'),

  async healed({ shop, attempt }) {
    const told = await until('the same key finds out what became of the call', async () => {
      const given = await post(shop.of('order').url, xa, { key: attempt.key });
      return given.status === 201 && String(given.body.orderId);
    });
    // What was decided before the victim died or stopped is what its key stands for.
    if (attempt.orderId !== '') expect(told).toBe(attempt.orderId);
    attempt.orderId = told;
  },

  /** One effect on stock and on money, proved by the witnesses, and nothing left to do. */
  async exactlyOnce({ shop: { world }, attempt: { orderId } }) {
    const row = await until(`the decision on ${orderId} is carried out`, async () => {
      const [found] = await decisions(world, orderId);
      return found?.state === 'DONE' && found;
    });
    expect(row.decision).toBe('COMMIT');
    expect(await witnesses(world, row.gtrid)).toEqual(['branch', 'branch']);
    const effects = {
      order: await sql(world, 'order', 'SELECT status FROM orders WHERE order_id = ?', [orderId]),
      payment: await sql(world, 'payment', 'SELECT status FROM payment WHERE order_id = ?', [orderId]),
      stock: await sql(world, 'inventory', 'SELECT state, times FROM stock_take WHERE order_id = ?', [orderId]),
    };
    expect(effects).toEqual({
      order: [{ status: 'CONFIRMED' }],
      payment: [{ status: 'CAPTURED' }],
      stock: [{ state: 'TAKEN', times: 1 }],
    });
  },
};
