import { expect } from 'vitest';
import type { Stack } from '../fixtures/stack.js';
import { until } from '../fixtures/until.js';
import { type AppName, sql, type World } from '../fixtures/world.js';
import type { Case, Scheme } from './row.js';
import { post } from './run-case.js';

interface TransactionRow {
  state: string;
  decision: string | null;
  reason: string | null;
}

export interface BarrierRow {
  phase: string;
  op: string;
}

/** The transaction as its initiator's database has it. */
export async function transaction(shop: Stack, gid: string): Promise<TransactionRow | undefined> {
  const query = 'SELECT state, decision, reason FROM dtx_tcc WHERE id = ?';
  return (await sql<TransactionRow>(shop.world, 'payment', query, [gid]))[0];
}

/** What a participant's barrier has let through: `try` first. */
export function barrier(world: World, app: AppName, gid: string): Promise<BarrierRow[]> {
  return sql(world, app, 'SELECT phase, op FROM dtx_tcc_barrier WHERE gid = ? ORDER BY phase DESC', [gid]);
}

const isOver = (row: TransactionRow | undefined) => row?.state === 'CONFIRMED' || row?.state === 'CANCELLED';

/** A checkout is CONFIRMED or CANCELLED, as one; which of the two depends on where who died. */
export const tcc: Scheme = {
  app: 'payment',
  path: '/checkouts',

  passed: async (shop, gid) => isOver(await transaction(shop, gid)),

  async healed(at, row) {
    const { shop, attempt, mode } = at;
    const answer = await until('the same key finds out what became of the call', async () => {
      const given = await post(shop.of('payment').url, tcc, { key: attempt.key, wanted: row.wanted });
      return (given.status === 201 || given.body.orderStatus === 'CANCELLED') && given;
    });
    attempt.orderId = String(answer.body.orderId);
    const told = answer.status === 201 ? 'CONFIRMED' : 'CANCELLED';
    const wanted = row.outcome?.(mode) ?? 'CONFIRMED';
    // Only the purchase that met the point may have come to something else than what can be had.
    if (wanted !== 'either' && at.attempt === at.met) expect(told).toBe(wanted);
    const order = await shop.settled(attempt.orderId, 15_000);
    expect([order.status, order.reason]).toEqual([told, answer.body.reason]);
  },

  async exactlyOnce(at) {
    const { shop, attempt } = at;
    const { orderId } = attempt;
    const over = await until(`transaction ${orderId} is over`, async () => {
      const row = await transaction(shop, orderId);
      return isOver(row) && row;
    });
    const isConfirmed = over!.state === 'CONFIRMED';
    const effects = {
      order: await sql(shop.world, 'order', 'SELECT status FROM orders WHERE order_id = ?', [orderId]),
      payment: await sql(shop.world, 'payment', 'SELECT status FROM payment WHERE order_id = ?', [orderId]),
      stock: await sql(shop.world, 'inventory', 'SELECT state, times FROM stock_take WHERE order_id = ?', [orderId]),
    };
    expect(effects).toEqual({
      order: [{ status: over!.state }],
      payment: isConfirmed ? [{ status: 'CAPTURED' }] : [],
      stock: isConfirmed ? [{ state: 'TAKEN', times: 1 }] : [],
    });
    await expectPairs(at, isConfirmed);
  },
};

/** Confirmed after its Try everywhere, or cancelled everywhere, with or without one. */
async function expectPairs({ shop, attempt }: Case, isConfirmed: boolean): Promise<void> {
  for (const app of ['order', 'payment', 'inventory'] as const) {
    const rows = await barrier(shop.world, app, attempt.orderId);
    const [first, second] = rows.map(({ op }) => op);
    expect(rows.map(({ phase }) => phase)).toEqual(['try', 'second']);
    if (isConfirmed) expect([app, first, second]).toEqual([app, 'try', 'confirm']);
    else expect(second).toBe('cancel');
  }
}
