import { expect } from 'vitest';
import { until } from '../fixtures/until.js';
import { type AppName, sql, type World } from '../fixtures/world.js';
import type { Scheme } from './row.js';
import { post } from './run-case.js';

const APPS: readonly AppName[] = ['order', 'payment', 'inventory'];

/** Messages of a purchase that are not done, sent or received, in all three apps. */
export async function openMessages(world: World, gid: string): Promise<number> {
  const counts = await Promise.all(
    APPS.flatMap((app) => [
      sql<{ n: number }>(world, app, `SELECT COUNT(*) AS n FROM dtx_outbox WHERE gid = ? AND state <> 'DONE'`, [gid]),
      sql<{ n: number }>(world, app, `SELECT COUNT(*) AS n FROM dtx_inbox WHERE gid = ? AND state <> 'HANDLED'`, [gid]),
    ]),
  );
  return counts.reduce((sum, [row]) => sum + Number(row!.n), 0);
}

/** Every purchase is CONFIRMED in the end, whoever died on the way. */
export const localMessage: Scheme = {
  app: 'order',
  path: '/orders',

  async passed({ world }, gid) {
    const rows = await sql<{ state: string }>(world, 'order', 'SELECT state FROM dtx_inbox WHERE gid = ?', [gid]);
    if (!rows.some((one) => one.state === 'HANDLED')) return false;
    // Down to the last receipt: what the victim meets from now on belongs to the next purchase.
    return (await openMessages(world, gid)) === 0;
  },

  async healed({ shop, attempt }) {
    attempt.orderId = await until('the same key finds out what became of the call', async () => {
      const { status, body } = await post(shop.of('order').url, localMessage, { key: attempt.key });
      return status === 202 && String(body.orderId);
    });
    expect((await shop.settled(attempt.orderId, 15_000)).status).toBe('CONFIRMED');
  },

  /** One effect on stock and on money, and nothing left to do. */
  async exactlyOnce({ shop: { world }, attempt: { orderId } }) {
    const isDone = async () => (await openMessages(world, orderId)) === 0;
    await until(`every message of ${orderId} is done`, isDone, { withinMs: 15_000 });
    expect(await sql(world, 'payment', 'SELECT status FROM payment WHERE order_id = ?', [orderId])).toEqual([
      { status: 'CAPTURED' },
    ]);
    expect(
      await sql(world, 'inventory', 'SELECT state, quantity FROM stock_take WHERE order_id = ?', [orderId]),
    ).toMatchObject([{ state: 'TAKEN', quantity: 1 }]);
  },
};
