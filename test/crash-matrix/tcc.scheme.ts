import { expect } from 'vitest';
import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { repeat } from './case-calls.js';
import type { Case, Mode, Proof, Scheme } from './matrix-types.js';

interface TransactionRow {
  state: string;
  decision: string | null;
  reason: string | null;
}

export interface BarrierRow {
  phase: string;
  op: string;
}

/** The transaction in its initiator's database. */
export async function transaction(shop: Stack, gid: string): Promise<TransactionRow | undefined> {
  const query = 'SELECT state, decision, reason FROM dtx_tcc WHERE id = ?';
  return (await sql<TransactionRow>(shop.sandbox, 'payment', query, [gid]))[0];
}

/** The calls that a participant's barrier has let through: `try` first. */
export function barrier(sandbox: Sandbox, app: AppName, gid: string): Promise<BarrierRow[]> {
  return sql(sandbox, app, 'SELECT phase, op FROM dtx_tcc_barrier WHERE gid = ? ORDER BY phase DESC', [gid]);
}

const isOver = (row: TransactionRow | undefined) => row?.state === 'CONFIRMED' || row?.state === 'CANCELLED';

type Outcome = 'CONFIRMED' | 'CANCELLED' | 'either';

/** A checkout ends in one state in all databases. The failpoint and the mode decide in which one. */
export const endsAs = (outcome: (mode: Mode) => Outcome): Proof => ({
  async healed(at) {
    const { shop, attempt, mode } = at;
    const answer = await until('the same key is answered with the outcome', async () => {
      const given = await repeat(at);
      return (given.status === 201 || given.body.orderStatus === 'CANCELLED') && given;
    });
    attempt.orderId = String(answer.body.orderId);
    const answered = answer.status === 201 ? 'CONFIRMED' : 'CANCELLED';
    const wanted = outcome(mode);
    if (wanted !== 'either') expect(answered).toBe(wanted);
    const order = await shop.settled(attempt.orderId, 15_000);
    expect([order.status, order.reason]).toEqual([answered, answer.body.reason]);
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
      order: await sql(shop.sandbox, 'order', 'SELECT status FROM orders WHERE order_id = ?', [orderId]),
      payment: await sql(shop.sandbox, 'payment', 'SELECT status FROM payment WHERE order_id = ?', [orderId]),
      stock: await sql(shop.sandbox, 'inventory', 'SELECT state, times FROM stock_take WHERE order_id = ?', [orderId]),
    };
    expect(effects).toEqual({
      order: [{ status: over!.state }],
      payment: isConfirmed ? [{ status: 'CAPTURED' }] : [],
      stock: isConfirmed ? [{ state: 'TAKEN', times: 1 }] : [],
    });
    await expectPairs(at, isConfirmed);
  },
});

export const tcc: Scheme = { app: 'payment', path: '/checkouts', ...endsAs(() => 'CONFIRMED') };

/** Every barrier has a Confirm after its Try, or every barrier has a Cancel, with or without a Try. */
async function expectPairs({ shop, attempt }: Case, isConfirmed: boolean): Promise<void> {
  for (const app of ['order', 'payment', 'inventory'] as const) {
    const rows = await barrier(shop.sandbox, app, attempt.orderId);
    const [first, second] = rows.map(({ op }) => op);
    expect(rows.map(({ phase }) => phase)).toEqual(['try', 'second']);
    if (isConfirmed) expect([app, first, second]).toEqual([app, 'try', 'confirm']);
    else expect(second).toBe('cancel');
  }
}
