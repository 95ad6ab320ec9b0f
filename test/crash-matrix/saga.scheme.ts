import { expect } from 'vitest';
import { type AppName, type Sandbox, sql } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { repeat } from './case-calls.js';
import type { Case, Mode, Proof, Scheme } from './matrix-types.js';

interface SagaRow {
  readonly state: string;
  readonly reason: string | null;
}

/** The saga in its initiator's database. */
export async function sagaOf(shop: Stack, gid: string): Promise<SagaRow | undefined> {
  const query = 'SELECT state, reason FROM dtx_saga WHERE id = ?';
  return (await sql<SagaRow>(shop.sandbox, 'order', query, [gid]))[0];
}

/** What the barrier of an app has let through, by step, such as `take-stock: do undo`. */
export async function barrier(sandbox: Sandbox, app: AppName, gid: string): Promise<string[]> {
  const query = 'SELECT step, op FROM dtx_saga_barrier WHERE gid = ? ORDER BY created_at, step, phase';
  const found = new Map<string, string>();
  for (const { step, op } of await sql<{ step: string; op: string }>(sandbox, app, query, [gid])) {
    const name = step.replace(/^\w+\./, '');
    found.set(name, `${found.get(name) ?? ''} ${op}`);
  }
  return [...found].map(([name, ops]) => `${name}:${ops}`);
}

type Outcome = 'CONFIRMED' | 'CANCELLED' | 'either';

const STATES: Readonly<Record<string, string>> = { CONFIRMED: 'COMPLETED', CANCELLED: 'COMPENSATED' };

/** A purchase ends in one state in all databases. The failpoint and the mode decide in which one. */
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
    const { status } = await shop.settled(orderId, 15_000);
    await until(`saga ${orderId} is over`, async () => (await sagaOf(shop, orderId))?.state === STATES[status]);
    const isConfirmed = status === 'CONFIRMED';
    const takes = await sql(shop.sandbox, 'inventory', 'SELECT state, times FROM stock_take WHERE order_id = ?', [
      orderId,
    ]);
    const payments = await sql(shop.sandbox, 'payment', 'SELECT status FROM payment WHERE order_id = ?', [orderId]);
    expect(payments).toEqual(isConfirmed ? [{ status: 'CAPTURED' }] : []);
    if (isConfirmed) expect(takes).toEqual([{ state: 'TAKEN', times: 1 }]);
    else for (const take of takes) expect(take).toEqual({ state: 'RETURNED', times: 1 });
    await expectBarriers(at, isConfirmed);
  },
});

/** A completed saga has undone nothing. A compensated one has undone each Do, and its pivot has not run. */
async function expectBarriers({ shop, attempt }: Case, isConfirmed: boolean): Promise<void> {
  const [order, payment, inventory] = await Promise.all(
    (['order', 'payment', 'inventory'] as const).map((app) => barrier(shop.sandbox, app, attempt.orderId)),
  );
  if (isConfirmed) {
    expect([order, payment, inventory]).toEqual([['place: do', 'confirm: do'], ['take-money: do'], ['take-stock: do']]);
    return;
  }
  expect(order).toEqual(['place: do undo']);
  for (const ops of [...payment!, ...inventory!]) expect(ops).not.toMatch(/: do$/);
}

export const saga: Scheme = { app: 'order', path: '/orders/saga', ...endsAs(() => 'CONFIRMED') };
