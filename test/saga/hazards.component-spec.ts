import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { expect, it } from 'vitest';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { effect, library } from './saga-apps.js';
import { useStage } from './stage.js';

/** The faults of other systems, each as its smallest input. */
const stage = useStage('saga_hazards');
const WAIT_MS = 60_000;

const fail = () => {
  throw new Error('no answer');
};

it('an Undo that comes while its Do runs waits for it and takes it back', async () => {
  let isRunning = false;
  const gid = await stage.begin({
    hold: {
      do: async (tx, _, { gid }) => {
        isRunning = true;
        await until('the saga compensates', async () => (await stage.rowOf(gid))?.direction === 'COMPENSATING');
        await effect(tx, gid, 'hold');
        return { lot: 'late' };
      },
    },
  });
  await until('the Do runs', () => isRunning);
  expect(await stage.order.cancel(gid)).toBe('CANCELLING');
  await stage.untilIs(gid, 'COMPENSATED');
  expect(await stage.effects('inventory', gid)).toEqual(['hold', 'put back late']);
  expect(await stage.rowOf(gid)).toMatchObject({ reason: 'CUSTOMER' });
});

it('a Do that comes after its Undo never runs, which it would without the barrier', async () => {
  const gid = await stage.begin({ hold: { do: () => Promise.reject(new library.Rejected('OUT_OF_STOCK')) } });
  expect(await stage.order.sagas.outcome(gid, WAIT_MS)).toMatchObject({
    status: 'COMPENSATED',
    reason: 'OUT_OF_STOCK',
  });
  expect(await stage.callLate(gid, 'hold')).toMatchObject({ verdict: 'refused', reason: 'OUT_OF_STOCK' });
  expect(await stage.callLate(gid, 'hold', 'undo')).toMatchObject({ verdict: 'ok' });
  const other = await stage.begin({ hold: { done: fail } });
  await stage.untilIs(other, 'COMPENSATED');
  expect(await stage.callLate(other, 'hold')).toMatchObject({ verdict: 'late' });
  expect(await stage.effects('inventory', other)).toEqual(['hold', `put back lot of ${other}`]);
  await sql(stage.sandbox, 'inventory', 'DELETE FROM dtx_saga_barrier WHERE gid = ?', [other]);
  await stage.callLate(other, 'hold').catch(() => {});
  expect(await stage.effects('inventory', other)).toEqual(['hold', `put back lot of ${other}`, 'hold']);
});

it('a cancel fences every step, so that a process that was suspended cannot call one later', async () => {
  let isAway = true;
  const behaviour = {
    do: async (tx: EntityManager, _: unknown, { gid }: { gid: string }) => {
      if (isAway) fail();
      await effect(tx, gid, 'hold');
      return { lot: 'x' };
    },
  };
  const gid = await stage.begin({ hold: behaviour }, (tx, gid) => stage.order.sagas.cancel(tx, gid, 'AT_ONCE'));
  await stage.untilIs(gid, 'COMPENSATED');
  isAway = false;
  expect(await stage.callLate(gid, 'hold')).toMatchObject({ verdict: 'late' });
  expect(await stage.effects('inventory', gid)).toEqual([]);
  expect(await stage.effects('order', gid)).toEqual(['order.place', 'undo order.place']);
});

it('a step whose answer is lost for good is undone too, with the result that its app has kept', async () => {
  const gid = await stage.begin({ hold: { done: fail } });
  expect(await stage.order.sagas.outcome(gid, WAIT_MS)).toMatchObject({ status: 'COMPENSATED', reason: 'FAILED' });
  expect(await stage.effects('inventory', gid)).toEqual(['hold', `put back lot of ${gid}`]);
  expect(await stage.effects('order', gid)).toEqual(['order.place', 'undo order.place']);
});

it('a Do that takes longer than a call is asked again, and has one effect', async () => {
  const gid = await stage.begin({
    hold: {
      do: async (tx, _, { gid }) => {
        const records = 'SELECT step FROM dtx_saga_step WHERE gid = ? AND last_error IS NOT NULL';
        await until('a call had no answer', async () => (await sql(stage.sandbox, 'order', records, [gid])).length > 0);
        await effect(tx, gid, 'hold');
        return { lot: 'slow' };
      },
    },
  });
  expect(await stage.order.sagas.outcome(gid, WAIT_MS)).toMatchObject({ status: 'COMPLETED' });
  expect(await stage.effects('inventory', gid)).toEqual(['hold']);
});

it('a cancel while the pivot runs is answered TOO_LATE, and nothing is undone', async () => {
  let answer: unknown;
  const gid = await stage.begin({
    pay: {
      do: async (tx, _, { gid }) => {
        answer = await stage.order.cancel(gid);
        await effect(tx, gid, 'paid');
      },
    },
  });
  await stage.untilIs(gid, 'COMPLETED');
  expect(answer).toBe('TOO_LATE');
  expect(await stage.effects('payment', gid)).toEqual(['paid']);
  expect(await stage.effects('inventory', gid)).toEqual(['hold']);
  expect(await stage.order.cancel(gid)).toBe('COMPLETED');
});

it('a cancel before the pivot keeps the pivot from running, also by a process that was suspended', async () => {
  let answer: unknown;
  const gid = await stage.begin({
    hold: {
      do: async (tx, _, { gid }) => {
        answer ??= await stage.order.cancel(gid);
        await effect(tx, gid, 'hold');
        return { lot: 'x' };
      },
    },
  });
  await stage.untilIs(gid, 'COMPENSATED');
  expect(answer).toBe('CANCELLING');
  expect(await stage.effects('payment', gid)).toEqual([]);
  expect(await stage.order.cancel(gid)).toBe('COMPENSATED');
});

it('a pivot whose answer is lost is found by the fence after the deadline, its @Done runs again, and the saga completes', async () => {
  const notified: unknown[] = [];
  const gid = await stage.begin({
    pay: {
      done: async (args, { gid }) => {
        notified.push(args);
        if (notified.length === 1) await stage.passDeadline(gid);
        // The saga calls its pivot once more before it sends the fence.
        if (notified.length <= 2) fail();
      },
    },
  });
  expect(await stage.order.sagas.outcome(gid, WAIT_MS)).toMatchObject({ status: 'COMPLETED' });
  expect(await stage.effects('payment', gid)).toEqual(['payment.pay']);
  expect(await stage.effects('inventory', gid)).toEqual(['hold']);
  // The fence has no arguments of its own. It gets those that the Do has kept.
  expect(notified).toEqual([notified[0], notified[0], notified[0]]);
});

it('a pivot that never commits is fenced after the deadline, and a late one is refused', async () => {
  const gid = await stage.begin({
    pay: {
      do: async (_, __, { gid }) => {
        await stage.passDeadline(gid);
        fail();
      },
    },
  });
  expect(await stage.order.sagas.outcome(gid, WAIT_MS)).toMatchObject({ status: 'COMPENSATED', reason: 'TIMEOUT' });
  expect(await stage.callLate(gid, 'pay')).toMatchObject({ verdict: 'late' });
  expect(await stage.effects('payment', gid)).toEqual([]);
  expect(await stage.effects('inventory', gid)).toEqual(['hold', `put back lot of ${gid}`]);
});

it('a saga without a pivot whose last answer is lost is undone after its deadline, and is never called completed', async () => {
  const gid = await stage.book({
    hold: {
      done: async (_, { gid }) => {
        await stage.passDeadline(gid);
        fail();
      },
    },
  });
  expect(await stage.order.sagas.outcome(gid, WAIT_MS)).toMatchObject({ status: 'COMPENSATED', reason: 'TIMEOUT' });
  expect(await stage.effects('inventory', gid)).toEqual(['hold', `put back lot of ${gid}`]);
});

it('a Do that comes again with other arguments is refused with one alert', async () => {
  const gid = await stage.begin();
  await stage.untilIs(gid, 'COMPLETED');
  await sql(stage.sandbox, 'inventory', `UPDATE dtx_saga_barrier SET args = '{"sku":"other"}' WHERE gid = ?`, [gid]);
  for (const _ of [1, 2])
    expect(await stage.callLate(gid, 'hold')).toMatchObject({ verdict: 'illegal', reason: /other arguments/ });
  const alerts = await sql(stage.sandbox, 'inventory', 'SELECT id FROM dtx_alert WHERE gid = ?', [gid]);
  expect(alerts).toHaveLength(1);
  expect(await stage.effects('inventory', gid)).toEqual(['hold']);
});

it('a saga that is over stays as it is when its deadline passes', async () => {
  const gid = await stage.begin();
  await stage.untilIs(gid, 'COMPLETED');
  await stage.passDeadline(gid);
  const other = await stage.begin();
  await stage.untilIs(other, 'COMPLETED');
  expect(await stage.rowOf(gid)).toMatchObject({ state: 'COMPLETED' });
  expect(await stage.order.sagas.outcome(randomUUID())).toBeNull();
});
