import { expect } from 'vitest';
import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { idOnceAnswered } from './case-calls.js';
import type { Scheme } from './matrix-types.js';

const APPS: readonly AppName[] = ['order', 'payment', 'inventory'];

/** The number of messages of a purchase that are not done, sent or received, in all three apps. */
export async function openMessages(sandbox: Sandbox, gid: string): Promise<number> {
  const counts = await Promise.all(
    APPS.flatMap((app) => [
      sql<{ n: number }>(
        sandbox,
        app,
        `SELECT COUNT(*) AS n FROM dtx_outbox WHERE gid = ? AND state NOT IN ('DONE', 'CANCELLED')`,
        [gid],
      ),
      sql<{ n: number }>(sandbox, app, `SELECT COUNT(*) AS n FROM dtx_inbox WHERE gid = ? AND state <> 'HANDLED'`, [
        gid,
      ]),
    ]),
  );
  return counts.reduce((sum, [row]) => sum + Number(row!.n), 0);
}

/** Every purchase is CONFIRMED in the end, after any crash. */
export const localMessage: Scheme = {
  app: 'order',
  path: '/orders',

  async healed(at) {
    at.attempt.orderId = await idOnceAnswered(at, 202);
    expect((await at.shop.settled(at.attempt.orderId, 15_000)).status).toBe('CONFIRMED');
  },

  /** One effect on stock and on money, and no open message. */
  async exactlyOnce({ shop: { sandbox }, attempt: { orderId } }) {
    const isDone = async () => (await openMessages(sandbox, orderId)) === 0;
    await until(`every message of ${orderId} is done`, isDone, { withinMs: 15_000 });
    expect(await sql(sandbox, 'payment', 'SELECT status FROM payment WHERE order_id = ?', [orderId])).toEqual([
      { status: 'CAPTURED' },
    ]);
    expect(
      await sql(sandbox, 'inventory', 'SELECT state, quantity FROM stock_take WHERE order_id = ?', [orderId]),
    ).toMatchObject([{ state: 'TAKEN', quantity: 1 }]);
  },
};
