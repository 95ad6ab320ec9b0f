import { expect } from 'vitest';
import type { Stack } from '../fixtures/stack.js';
import { until } from '../fixtures/until.js';
import { sql } from '../fixtures/world.js';
import { takes, verdicts } from '../half-message/sales.js';
import { openMessages } from './local-message.scheme.js';
import type { Case, Scheme } from './row.js';
import { post } from './run-case.js';

/** The consumers of a purchase's messages that have handled theirs, in all apps. */
async function handledBy({ world }: Stack, gid: string): Promise<string[]> {
  const rows = await Promise.all(
    (['order', 'payment'] as const).map((app) =>
      sql<{ consumer: string }>(world, app, `SELECT consumer FROM dtx_inbox WHERE gid = ? AND state = 'HANDLED'`, [
        gid,
      ]),
    ),
  );
  return rows.flat().map(({ consumer }) => consumer);
}

const CONSUMERS = ['order.confirm', 'order.record-flash-sale', 'payment.take-flash-money'];

/** Nothing of it is left to do but for the copy, which dies by its check. */
async function isOver(shop: Stack, gid: string): Promise<boolean> {
  const [verdict] = await verdicts(shop.world, gid);
  if (verdict?.state !== 'DONE') return false;
  const handled = await handledBy(shop, gid);
  return CONSUMERS.every((one) => handled.includes(one)) && (await openMessages(shop.world, gid)) === 0;
}

/** Every flash sale of what is there is CONFIRMED in the end, whoever died on the way. */
export const halfMessages: Scheme = {
  app: 'inventory',
  path: '/flash-sales',

  passed: isOver,

  async healed({ shop, attempt }) {
    attempt.orderId = await until('the same key finds out what became of the call', async () => {
      const { status, body } = await post(shop.of('inventory').url, halfMessages, { key: attempt.key });
      return status === 202 && String(body.orderId);
    });
    expect((await shop.settled(attempt.orderId, 20_000)).status).toBe('CONFIRMED');
  },

  async exactlyOnce({ shop, attempt: { orderId } }: Case) {
    await until(`everything of ${orderId} is done`, () => isOver(shop, orderId), { withinMs: 20_000 });
    const { world } = shop;
    expect(await sql(world, 'payment', 'SELECT status FROM payment WHERE order_id = ?', [orderId])).toEqual([
      { status: 'CAPTURED' },
    ]);
    expect(await takes(world, orderId)).toEqual([{ state: 'TAKEN', times: 1 }]);
    expect(await verdicts(world, orderId)).toMatchObject([{ state: 'DONE' }]);
  },
};
