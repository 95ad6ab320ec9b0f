import type { EntityManager } from 'typeorm';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { purchaseOf } from './purchase-saga.js';
import { effect, library, type Methods, saga } from './saga-apps.js';
import { useSagaApps } from './saga-databases.js';

const apps = useSagaApps('saga_outcomes');
const { place, hold, pay, confirm, purchase } = purchaseOf({ saga });
const { Rejected } = library;

const held = async (tx: EntityManager, { sku }: { sku: string }, { gid }: { gid: string }) => {
  await effect(tx, gid, `hold ${sku}`);
  return { lot: `lot of ${sku}` };
};
const putBack = (
  tx: EntityManager,
  _: unknown,
  { gid, result, reason }: { gid: string; result: { lot: string }; reason?: string },
) => effect(tx, gid, `put back ${result.lot} for ${reason}`);

async function startAll({
  payment = {},
  inventory = { do: held, undo: putBack },
}: {
  payment?: Methods;
  inventory?: Methods;
} = {}) {
  await apps.start({ app: 'inventory', steps: [[hold, inventory]] });
  await apps.start({ app: 'payment', steps: [[pay, { undo: null, ...payment }]] });
  return apps.start({ sagas: [purchase], steps: [[place], [confirm, { undo: null }]] });
}

it('a saga carries out its steps in order, each with the results before it', async () => {
  const seen: unknown[] = [];
  const order = await startAll({ payment: { do: (_, args) => void seen.push(args) } });
  expect(await order.begin(purchase, { sku: 'book' }, 'done-1')).toBe('done-1');
  expect(await order.sagas.outcome('done-1', 60_000)).toMatchObject({ status: 'COMPLETED', isCompensating: false });
  expect(await apps.effects('order', 'done-1')).toEqual(['order.place', 'order.confirm']);
  expect(await apps.effects('inventory', 'done-1')).toEqual(['hold book']);
  expect(seen).toEqual([{ sku: 'book', lot: 'lot of book' }]);
});

it('a refusal of the pivot undoes every step before it, each with its own result and the reason', async () => {
  const order = await startAll({
    payment: {
      do: () => {
        throw new Rejected('INSUFFICIENT_FUNDS');
      },
    },
  });
  await order.begin(purchase, { sku: 'book' }, 'refused-1');
  expect(await order.sagas.outcome('refused-1', 60_000)).toMatchObject({
    status: 'COMPENSATED',
    reason: 'INSUFFICIENT_FUNDS',
  });
  expect(await apps.effects('inventory', 'refused-1')).toEqual([
    'hold book',
    'put back lot of book for INSUFFICIENT_FUNDS',
  ]);
  expect(await apps.effects('order', 'refused-1')).toEqual(['order.place', 'undo order.place']);
});

it('a refusal of the first step refuses the start, and nothing has begun', async () => {
  const order = await apps.start({
    sagas: [purchase],
    steps: [
      [
        place,
        {
          do: async (tx, _, { gid }) => {
            await effect(tx, gid, 'placed');
            throw new Rejected('CLOSED');
          },
        },
      ],
      [confirm, { undo: null }],
    ],
  });
  await expect(order.begin(purchase, { sku: 'book' }, 'never-1')).rejects.toThrow('CLOSED');
  expect(await order.sagas.outcome('never-1')).toBeNull();
  expect(await apps.effects('order', 'never-1')).toEqual([]);
  expect(await sql(apps.sandbox, 'order', `SELECT * FROM dtx_saga_barrier WHERE gid = 'never-1'`)).toEqual([]);
});

it('three steps of which the third refuses are undone in reverse order', async () => {
  const undone: string[] = [];
  const args = z.object({});
  const [one, two, three] = ['inventory.one', 'payment.two', 'inventory.three'].map((name) =>
    saga.defineStep({ name, version: 1, args }),
  );
  const row = saga.defineSaga({
    name: 'order.row',
    version: 1,
    input: args,
    deadlineMs: 120_000,
    steps: ({ compensable }) => [one!, two!, three!].map((step) => compensable(step, () => ({}))),
  });
  const undo = (what: string) => ({ undo: () => void undone.push(what) });
  const refuse = () => Promise.reject(new Rejected('NO'));
  await apps.start({
    app: 'inventory',
    steps: [
      [one!, undo('one')],
      [three!, { do: refuse, ...undo('three') }],
    ],
  });
  await apps.start({ app: 'payment', steps: [[two!, undo('two')]] });
  const order = await apps.start({ sagas: [row] });
  await order.begin(row, {}, 'row-1');
  expect(await order.sagas.outcome('row-1', 60_000)).toMatchObject({ status: 'COMPENSATED', reason: 'NO' });
  expect(undone).toEqual(['two', 'one']);
});

it('of two starts at once with one gid one is refused, and there is one saga', async () => {
  const order = await startAll();
  const start = (sku: string) => order.begin(purchase, { sku }, 'at-once-1');
  const ends = await Promise.allSettled([start('book'), start('mug')]);
  expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  const [refused] = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []));
  expect(refused).toBeInstanceOf(library.DtxError);
  expect(String(refused)).toContain('saga at-once-1 exists already; use another gid');
  expect(await order.sagas.outcome('at-once-1', 60_000)).toMatchObject({ status: 'COMPLETED' });
  expect(await apps.effects('inventory', 'at-once-1')).toHaveLength(1);
});

it('a second start with the gid of a saga is refused, and the first one goes on', async () => {
  const order = await startAll();
  await order.begin(purchase, { sku: 'book' }, 'twice-1');
  await expect(order.begin(purchase, { sku: 'other' }, 'twice-1')).rejects.toThrow(/gid/);
  expect(await order.sagas.outcome('twice-1', 60_000)).toMatchObject({ status: 'COMPLETED' });
  expect(await apps.effects('inventory', 'twice-1')).toEqual(['hold book']);
});

it('a start is refused for an input that does not fit, a foreign saga, and a manager outside a transaction', async () => {
  const order = await startAll();
  const { sagas } = order;
  await expect(order.begin(purchase, { sku: 1 } as never, 'bad-1')).rejects.toThrow(
    /input does not fit saga order\.purchase v1: sku/,
  );
  const foreign = { ...purchase, version: 9 };
  await expect(order.begin(foreign, { sku: 'a' }, 'bad-2')).rejects.toThrow(
    'saga order.purchase v9 is not in SagaModule; add it to its sagas',
  );
  const { manager } = order.source;
  await expect(sagas.start(manager, purchase, { sku: 'a' }, { gid: 'bad-3' })).rejects.toThrow(
    /Sagas\.start needs the EntityManager/,
  );
  await expect(sagas.cancel(manager, 'bad-3', 'X')).rejects.toThrow(/Sagas\.cancel needs the EntityManager/);
  await expect(order.begin(purchase, { sku: 'a'.repeat(300_000) }, 'bad-4')).rejects.toThrow(/payloadMaxBytes/);
  expect(await order.cancel('nobody-1')).toBeNull();
});

it('a result that does not fit its contract undoes the Do, and compensates in the end', async () => {
  const order = await apps.start({
    sagas: [purchase],
    options: { attemptsMax: 2 },
    steps: [[place], [confirm, { undo: null }]],
  });
  await apps.start({
    app: 'inventory',
    steps: [[hold, { do: async (tx, _, { gid }) => void (await effect(tx, gid, 'x')) }]],
  });
  await apps.start({ app: 'payment', steps: [[pay, { undo: null }]] });
  await order.begin(purchase, { sku: 'book' }, 'misfit-1');
  expect(await order.sagas.outcome('misfit-1', 60_000)).toMatchObject({ status: 'COMPENSATED', reason: 'FAILED' });
  expect(await apps.effects('inventory', 'misfit-1')).toEqual([]);
});

it('the steps of a group run together, and a refusal of one undoes its sibling, which commits later, with its own result', async () => {
  const args = z.object({});
  const slow = saga.defineStep({ name: 'inventory.slow', version: 1, args });
  const refusing = saga.defineStep({ name: 'payment.refusing', version: 1, args });
  const together = saga.defineSaga({
    name: 'order.together',
    version: 1,
    input: args,
    deadlineMs: 120_000,
    steps: ({ compensable }) => [[compensable(slow, () => ({})), compensable(refusing, () => ({}))]],
  });
  let isRefused = false;
  await apps.start({
    app: 'inventory',
    steps: [
      [
        slow,
        {
          do: async (tx, _, { gid }) => {
            await until('the sibling is refused', () => isRefused);
            await effect(tx, gid, 'slow');
            return { of: 'slow' };
          },
          undo: (tx, _, { gid, result }) => effect(tx, gid, `undo ${result.of}`),
        },
      ],
    ],
  });
  const refuse = () => {
    isRefused = true;
    throw new Rejected('NO');
  };
  await apps.start({ app: 'payment', steps: [[refusing, { do: refuse }]] });
  const order = await apps.start({ sagas: [together] });
  await order.begin(together, {}, 'group-1');
  expect(await order.sagas.outcome('group-1', 60_000)).toMatchObject({ status: 'COMPENSATED', reason: 'NO' });
  expect(await apps.effects('inventory', 'group-1')).toEqual(['slow', 'undo slow']);
  expect(await apps.effects('payment', 'group-1')).toEqual([]);
});
