import { expect } from 'vitest';
import { sql } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { takes, verdicts } from '../half-message/sale-and-verdict.js';
import { idOnceAnswered } from './case-calls.js';
import { openMessages } from './local-message.scheme.js';
import type { Scheme } from './matrix-types.js';

/** The consumers in all apps that have handled their message of a purchase. */
async function handledBy({ sandbox }: Stack, gid: string): Promise<string[]> {
  const rows = await Promise.all(
    (['order', 'payment'] as const).map((app) =>
      sql<{ consumer: string }>(sandbox, app, `SELECT consumer FROM dtx_inbox WHERE gid = ? AND state = 'HANDLED'`, [
        gid,
      ]),
    ),
  );
  return rows.flat().map(({ consumer }) => consumer);
}

const CONSUMERS = ['order.confirm', 'order.record-flash-sale', 'payment.take-flash-money'];

/** All is done. Only the prepared message may be left, which its check discards. */
async function isOver(shop: Stack, gid: string): Promise<boolean> {
  const [verdict] = await verdicts(shop.sandbox, gid);
  if (verdict?.state !== 'DONE') return false;
  const handled = await handledBy(shop, gid);
  return CONSUMERS.every((one) => handled.includes(one)) && (await openMessages(shop.sandbox, gid)) === 0;
}

/** Every flash sale of goods in stock is CONFIRMED in the end, after any crash. */
export const halfMessages: Scheme = {
  app: 'inventory',
  path: '/flash-sales',

  async healed(at) {
    at.attempt.orderId = await idOnceAnswered(at, 202);
    expect((await at.shop.settled(at.attempt.orderId, 20_000)).status).toBe('CONFIRMED');
  },

  async exactlyOnce({ shop, attempt: { orderId } }) {
    await until(`everything of ${orderId} is done`, () => isOver(shop, orderId), { withinMs: 20_000 });
    const { sandbox } = shop;
    expect(await sql(sandbox, 'payment', 'SELECT status FROM payment WHERE order_id = ?', [orderId])).toEqual([
      { status: 'CAPTURED' },
    ]);
    expect(await takes(sandbox, orderId)).toEqual([{ state: 'TAKEN', times: 1 }]);
    expect(await verdicts(sandbox, orderId)).toMatchObject([{ state: 'DONE' }]);
  },
};
