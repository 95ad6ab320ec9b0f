/** What a saga keeps when it fails behind its pivot, and what its definition gives to later steps. */
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import { expect, it } from 'vitest';
import { z } from 'zod';
import type { SagaSteps } from '../../libs/dtx/src/saga/index.js';
import { until } from '../fixtures/until.js';
import { effect, library, type Methods, saga } from './saga-apps.js';
import { useSagaApps } from './saga-databases.js';

const apps = useSagaApps('saga_after_pivot');
const none = z.object({});
const step = (name: string) => saga.defineStep({ name, version: 1, args: none });
const [reserve, send, confirm] = [step('order.reserve'), step('order.send'), step('order.confirm')];
const pay = saga.defineStep({ name: 'order.pay', version: 1, args: none, result: z.object({ receipt: z.string() }) });
const label = saga.defineStep({ name: 'order.label', version: 1, args: none, result: z.object({ code: z.string() }) });
const tell = saga.defineStep({ name: 'order.tell', version: 1, args: z.object({ code: z.string() }) });
const take = saga.defineStep({ name: 'order.take', version: 1, args: none, result: z.string().nullable() });
const use = saga.defineStep({ name: 'order.use', version: 1, args: z.object({ coupon: z.string().nullable() }) });
const hint = saga.defineSignal({ name: 'hint', payload: z.string().nullable() });

const CALL_MS = 6_000;
const made = () => ({});
const sagaOf = (name: string, steps: (s: SagaSteps<object>) => never[]) =>
  saga.defineSaga({ name: `order.${name}`, version: 1, input: none, deadlineMs: 60_000, steps: steps as never });
const paid: Methods = {
  undo: null,
  do: async (tx, _, { gid }) => {
    await effect(tx, gid, pay.name);
    return { receipt: 'r1' };
  },
};

/** A step that fails so often, and then succeeds with `result`. */
function failing(times: number, result?: unknown): Methods {
  let calls = 0;
  return {
    undo: null,
    do: async (tx, _, { gid }) => {
      calls += 1;
      if (calls <= times) throw new Error('not now');
      await effect(tx, gid, `call ${calls}`);
      return result;
    },
  };
}

it('the result of a step is kept while its sibling fails, and a later step gets it', async () => {
  const parcel = sagaOf('parcel', ({ pivot, retriable }) => [
    pivot(pay, made) as never,
    [retriable(label, made), retriable(send, made)] as never,
    retriable(tell, (s) => ({ code: s.result(label).code })) as never,
  ]);
  const told: unknown[] = [];
  const app = await apps.start({
    sagas: [parcel],
    steps: [
      [pay, paid],
      [label, failing(1, { code: 'DE-1' })],
      [send, failing(3)],
      [tell, { undo: null, do: (_, args) => void told.push(args) }],
    ],
  });
  const gid = await app.begin(parcel, {}, randomUUID());
  await apps.untilIs(gid, 'COMPLETED');
  expect(told).toEqual([{ code: 'DE-1' }]);
  // Once its result is known it is not asked again.
  expect((await apps.effects('order', gid)).sort()).toEqual(['call 2', 'call 4', pay.name].sort());
  await apps.stop(app);
});

it('arguments that cannot be made after the pivot park the saga as one that goes forward, and a person can end it', async () => {
  const broken = sagaOf('broken', ({ compensable, pivot, retriable }) => [
    compensable(reserve, made) as never,
    pivot(pay, made) as never,
    retriable(send, () => {
      throw new Error('no such address');
    }) as never,
    retriable(confirm, made) as never,
  ]);
  const app = await apps.start({
    sagas: [broken],
    steps: [[reserve], [pay, paid], [send, { undo: null }], [confirm, { undo: null }]],
    options: { attemptsMax: 3 },
  });
  const gid = await app.begin(broken, {}, randomUUID());
  await apps.untilIs(gid, 'PARKED');
  expect(await apps.rowOf(gid)).toMatchObject({ direction: 'FORWARD' });
  expect(await app.resolve(gid, 'reject')).toBe('not-possible');
  expect(await app.resolve(gid, 'done')).not.toBe('not-possible');
  await apps.untilIs(gid, 'COMPLETED');
  expect(await apps.effects('order', gid)).toEqual([reserve.name, pay.name, confirm.name]);
  await apps.stop(app);
});

it('arguments of the pivot that cannot be made turn the saga back, since the pivot has not been called', async () => {
  const priceless = sagaOf('priceless', ({ compensable, pivot }) => [
    compensable(reserve, made) as never,
    pivot(pay, () => {
      throw new Error('no such price');
    }) as never,
  ]);
  const app = await apps.start({
    sagas: [priceless],
    steps: [[reserve], [pay, paid]],
    options: { attemptsMax: 3 },
  });
  const gid = await app.begin(priceless, {}, randomUUID());
  await apps.untilIs(gid, 'COMPENSATED');
  expect(await apps.rowOf(gid)).toMatchObject({ reason: 'FAILED' });
  expect(await apps.effects('order', gid)).toEqual([reserve.name, `undo ${reserve.name}`]);
  await apps.stop(app);
});

it('a result of null and a signal of null reach later steps as null, also after a restart of the app', async () => {
  const gift = sagaOf('gift', ({ compensable, pivot, waitFor }) => [
    compensable(take, made) as never,
    waitFor(hint, { withinMs: 60_000, refusal: (text) => (text === null ? null : 'TOO_MUCH') }) as never,
    pivot(use, (s) => ({ coupon: s.signal(hint) ?? s.result(take) })) as never,
  ]);
  const used: unknown[] = [];
  const start = () =>
    apps.start({
      sagas: [gift],
      steps: [
        [take, { do: () => null }],
        [use, { undo: null, do: (_, args) => void used.push(args) }],
      ],
      options: { attemptsMax: 3 },
    });
  const first = await start();
  const gid = await first.begin(gift, {}, randomUUID());
  await until('the saga waits', async () => (await first.sagas.outcome(gid))?.isWaiting);
  await apps.stop(first);
  const second = await start();
  await library.inTransaction(second.source, (tx) => second.sagas.signal(tx, gid, hint, null, { id: 'one' }));
  await apps.untilIs(gid, 'COMPLETED');
  expect(used).toEqual([{ coupon: null }]);
  await apps.stop(second);
});

it('failures before a wait do not count against the step after it', async () => {
  const slow = sagaOf('slow', ({ compensable, pivot, waitFor }) => [
    // It runs in the transaction of the start.
    compensable(reserve, made) as never,
    compensable(label, made) as never,
    waitFor(hint, { withinMs: 60_000 }) as never,
    compensable(send, made) as never,
    pivot(pay, made) as never,
  ]);
  const app = await apps.start({
    sagas: [slow],
    steps: [
      [reserve],
      [label, { ...failing(2, { code: 'x' }), undo: undefined }],
      [send, { ...failing(1), undo: undefined }],
      [pay, paid],
    ],
    options: { attemptsMax: 3 },
  });
  const gid = randomUUID();
  await library.inTransaction(app.source, async (tx) => {
    await app.sagas.start(tx, slow, {}, { gid });
    await app.sagas.signal(tx, gid, hint, 'early', { id: 'one' });
  });
  await apps.untilIs(gid, 'COMPLETED');
  await apps.stop(app);
});

it('slow last steps of the own app, which hold the rows of their sagas, leave the own pool free', async () => {
  const last = sagaOf('last', ({ pivot, retriable }) => [pivot(pay, made) as never, retriable(send, made) as never]);
  let running = 0;
  let isOver = false;
  const wait = async () => {
    running += 1;
    await until('the look is over', () => isOver);
  };
  const app = await apps.start({
    sagas: [last],
    steps: [
      [pay, paid],
      [send, { undo: null, do: wait }],
    ],
    options: { callTimeoutMs: CALL_MS },
  });
  const gids = await Promise.all(Array.from({ length: 8 }, () => app.begin(last, {}, randomUUID())));
  await until('all last steps run', () => running === gids.length);
  const { own } = app.context.get(library.Database);
  let longestMs = 0;
  const startedAt = performance.now();
  // The leases last twice as long as a call, and are renewed at a third of that.
  await until('the leases are due for renewal', async () => {
    const since = performance.now();
    await own.query('SELECT 1');
    longestMs = Math.max(longestMs, performance.now() - since);
    return performance.now() - startedAt > 0.9 * CALL_MS;
  });
  isOver = true;
  for (const gid of gids) await apps.untilIs(gid, 'COMPLETED');
  // A renewal that waits for such a row waits for a second.
  expect(longestMs).toBeLessThan(800);
  await apps.stop(app);
});

it('bad ids and reasons are refused with an error that names them', async () => {
  const app = await apps.start({
    sagas: [sagaOf('bare', ({ pivot }) => [pivot(pay, made) as never])],
    steps: [[pay, paid]],
  });
  const within = (work: (tx: EntityManager) => Promise<unknown>) => app.source.transaction(work);
  await expect(within((tx) => app.sagas.signal(tx, 'a', hint, null, { id: 'not an id' }))).rejects.toThrow(
    /invalid id of a signal: .*"not an id"/,
  );
  await expect(within((tx) => app.sagas.cancel(tx, 'a', undefined as never))).rejects.toThrow(/give a reason/);
  await apps.stop(app);
});
