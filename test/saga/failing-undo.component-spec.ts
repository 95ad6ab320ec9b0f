import { expect, it } from 'vitest';
import { effect, library } from './saga-apps.js';
import { type Script, useStage } from './stage.js';

const stage = useStage('saga_failing_undo');
const WAIT_MS = 60_000;
const noFunds: Script = { pay: { do: () => Promise.reject(new library.Rejected('INSUFFICIENT_FUNDS')) } };
const broken = () => {
  throw new Error('the shelf is locked');
};

it('an Undo that keeps failing parks the saga with one alert, and the steps before it wait for a person', async () => {
  const gid = await stage.begin({ ...noFunds, hold: { undo: broken } });
  await stage.untilIs(gid, 'PARKED');
  expect(await stage.order.sagas.outcome(gid, WAIT_MS)).toMatchObject({ status: 'PENDING', isCompensating: true });
  expect(await stage.effects('order', gid)).toEqual(['order.place']);
  const [alert, ...more] = await stage.alertsOf(gid);
  expect(more).toEqual([]);
  expect(alert).toMatchObject({ step: 'compensating saga order.purchase v1', closed_at: null });
  expect(alert!.alert_error).toContain('undo of inventory.hold: the shelf is locked');
  const shown = await stage.order.shown(gid);
  expect(shown).toMatchObject({ state: 'PARKED', what: 'saga order.purchase v1, INSUFFICIENT_FUNDS' });
  expect(shown!.details).toMatchObject({ steps: [{ step: 'inventory.hold', undoneAt: null, undoAttempts: 3 }] });

  expect(await stage.order.resolve(gid, 'reject')).toBe('not-possible');
  expect(await stage.order.resolve(gid, 'done')).toBe('done');
  await stage.untilIs(gid, 'COMPENSATED');
  expect(await stage.effects('order', gid)).toEqual(['order.place', 'undo order.place']);
  expect(await stage.effects('inventory', gid)).toEqual(['hold']);
  expect((await stage.alertsOf(gid))[0]!.closed_at).not.toBeNull();
});

it('each Undo has its own count of attempts', async () => {
  const left = { hold: 2, place: 2 };
  const twice = (part: keyof typeof left) => () => {
    if (left[part]-- > 0) broken();
  };
  const gid = await stage.begin({ ...noFunds, hold: { undo: twice('hold') }, place: { undo: twice('place') } });
  expect(await stage.order.sagas.outcome(gid, WAIT_MS)).toMatchObject({ status: 'COMPENSATED' });
  expect(left).toEqual({ hold: -1, place: -1 });
});

it('attempts to do are not counted against the Undo', async () => {
  const left = { do: 2, undo: 2 };
  const gid = await stage.begin({
    ...noFunds,
    hold: {
      do: async (tx, _, { gid }) => {
        if (left.do-- > 0) broken();
        await effect(tx, gid, 'hold');
        return { lot: 'x' };
      },
      undo: async (tx, _, { gid }) => {
        if (left.undo-- > 0) broken();
        await effect(tx, gid, 'put back');
      },
    },
  });
  expect(await stage.order.sagas.outcome(gid, WAIT_MS)).toMatchObject({ status: 'COMPENSATED' });
  expect(left).toEqual({ do: -1, undo: -1 });
  expect(await stage.alertsOf(gid)).toEqual([]);
  expect(await stage.effects('inventory', gid)).toEqual(['hold', 'put back']);
});

it('a step after the pivot that keeps failing parks the saga, and its retry completes it', async () => {
  let isBroken = true;
  const gid = await stage.begin({
    confirm: {
      do: () => {
        if (isBroken) broken();
      },
    },
  });
  await stage.untilIs(gid, 'PARKED');
  expect(await stage.rowOf(gid)).toMatchObject({ direction: 'FORWARD' });
  expect(await stage.order.cancel(gid)).toBe('TOO_LATE');
  isBroken = false;
  expect(await stage.order.retry(gid)).toBe('done');
  await stage.untilIs(gid, 'COMPLETED');
  expect(await stage.effects('inventory', gid)).toEqual(['hold']);
});

it('a refusal after the pivot parks the saga at once, since nothing may refuse there', async () => {
  const gid = await stage.begin({ confirm: { do: () => Promise.reject(new library.Rejected('NO')) } });
  await stage.untilIs(gid, 'PARKED');
  expect(await stage.rowOf(gid)).toMatchObject({ direction: 'FORWARD', attempts: 1 });
  expect(await stage.order.resolve(gid, 'done')).toBe('done');
  await stage.untilIs(gid, 'COMPLETED');
});

it('a saga that fails parks alone, and others go on', async () => {
  const parked = await stage.begin({ ...noFunds, hold: { undo: broken } });
  const others = await Promise.all(Array.from({ length: 5 }, () => stage.begin()));
  for (const gid of others) await stage.untilIs(gid, 'COMPLETED');
  await stage.untilIs(parked, 'PARKED');
});
