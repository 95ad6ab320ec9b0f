import { expect } from 'vitest';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { decisions, witnesses } from '../xa/branches-and-decisions.js';
import { idOnceAnswered } from './case-calls.js';
import type { Scheme } from './matrix-types.js';

/** Every purchase is CONFIRMED in the end, after any crash. One without a decision is made anew with the same key. */
export const xa: Scheme = {
  app: 'order',
  path: '/orders/xa',

  async healed(at) {
    const answered = await idOnceAnswered(at, 201);
    // A decision that was made before the victim died or stopped keeps its key.
    if (at.attempt.orderId !== '') expect(answered).toBe(at.attempt.orderId);
    at.attempt.orderId = answered;
  },

  /** One effect on stock and on money, proved by the witnesses, and a decision that is DONE. */
  async exactlyOnce({ shop: { sandbox }, attempt: { orderId } }) {
    const row = await until(`the decision on ${orderId} is carried out`, async () => {
      const [found] = await decisions(sandbox, orderId);
      return found?.state === 'DONE' && found;
    });
    expect(row.decision).toBe('COMMIT');
    expect(await witnesses(sandbox, row.gtrid)).toEqual(['branch', 'branch']);
    const effects = {
      order: await sql(sandbox, 'order', 'SELECT status FROM orders WHERE order_id = ?', [orderId]),
      payment: await sql(sandbox, 'payment', 'SELECT status FROM payment WHERE order_id = ?', [orderId]),
      stock: await sql(sandbox, 'inventory', 'SELECT state, times FROM stock_take WHERE order_id = ?', [orderId]),
    };
    expect(effects).toEqual({
      order: [{ status: 'CONFIRMED' }],
      payment: [{ status: 'CAPTURED' }],
      stock: [{ state: 'TAKEN', times: 1 }],
    });
  },
};
