import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { Participant, TccCalls } from '../../libs/dtx/src/index.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { EFFECTS, effectsOf, write } from './effect-table.js';
import { type Library, LittleApp, libraryOf, participantOf } from './little-app.js';

type Args = { amount: number };
type Methods = Parameters<typeof participantOf>[2];

let sandbox: Sandbox;
let library: Library;
let money: Participant<Args>;
let goods: Participant<Args>;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_closing', { audited: false });
  library = libraryOf();
  await sql(sandbox, 'payment', EFFECTS);
  const contract = (name: string) =>
    library.decorators.defineParticipant({ name, version: 1, args: z.object({ amount: z.int() }) });
  [money, goods] = [contract('payment.money'), contract('payment.goods')];
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

/** Initiator and both participants in one app. Every method records its call. */
async function start(differs: Methods = {}): Promise<LittleApp> {
  const recorded = (phase: 'try' | 'confirm' | 'cancel'): NonNullable<Methods['try']> => {
    return async (tx, args, branch) => {
      await write(tx, branch.gid, phase);
      await differs[phase]?.(tx, args, branch);
    };
  };
  const methods = { try: recorded('try'), confirm: recorded('confirm'), cancel: recorded('cancel') };
  const providers = [money, goods].map((contract) => participantOf(library, contract, methods));
  const app = await LittleApp.start({ sandbox, library, providers });
  running.push(app);
  return app;
}

/** The rows of one transaction in every table of TCC. */
async function leftOf(gid: string): Promise<number[]> {
  const counts = ['dtx_tcc WHERE id', 'dtx_tcc_branch WHERE gid', 'dtx_tcc_barrier WHERE gid', 'effect WHERE gid'].map(
    (from) => sql<{ n: number }>(sandbox, 'payment', `SELECT COUNT(*) AS n FROM ${from} = ?`, [gid]),
  );
  return (await Promise.all(counts)).map(([row]) => Number(row!.n));
}

test.each([0, 1, 2, 3, 4, 5, 6])(
  'a define that awaits %i ms before its second call is refused, and nothing is begun',
  async (ms) => {
    const app = await start();
    const gid = `awaits-${ms}`;
    let ended: Promise<void> | undefined;
    const define = (t: TccCalls) => {
      ended = (async () => {
        t.call(money, { amount: 1 });
        await sleep(ms);
        t.call(goods, { amount: 1 });
      })();
      return ended;
    };
    await expect(app.tcc.run({ gid }, define)).rejects.toThrow(/define of a TCC transaction is asynchronous/);
    await expect(ended).rejects.toThrow(/payment\.goods v1 came after define had returned/);
    expect(await leftOf(gid)).toEqual([0, 0, 0, 0]);
    expect(await app.tcc.outcome(gid)).toBeNull();
  },
);

test('a define that throws begins nothing', async () => {
  const app = await start();
  const define = (t: TccCalls) => {
    t.call(money, { amount: 1 });
    throw new Error('no price');
  };
  await expect(app.tcc.run({ gid: 'throws' }, define)).rejects.toThrow('no price');
  expect(await leftOf('throws')).toEqual([0, 0, 0, 0]);
});

test('a participant gets the arguments as they were when the call was made', async () => {
  const seen: Args[] = [];
  const app = await start({ try: (_tx, args) => void seen.push(args) });
  const args = { amount: 1 };
  const outcome = app.tcc.run({ gid: 'copied' }, (t) => {
    t.call(money, args);
    args.amount = 1_000;
  });
  args.amount = 2_000;
  expect(await outcome).toMatchObject({ status: 'CONFIRMED' });
  expect(seen).toEqual([{ amount: 1 }]);
});

test('a call during the registration of its transaction throws, and nothing is begun', async () => {
  const app = await start();
  let late: TccCalls | undefined;
  const within = async () => expect(() => late!.call(goods, { amount: 1 })).toThrow(/after define had returned/);
  const run = app.tcc.run({ gid: 'registering', within }, (t) => {
    late = t;
    t.call(money, { amount: 1 });
  });
  await expect(run).rejects.toThrow(/registering was not begun: a call came after define/);
  expect(await leftOf('registering')).toEqual([0, 0, 0, 0]);
});

test('a call while branches are tried throws, and the transaction is not confirmed without it', async () => {
  let late: TccCalls | undefined;
  const app = await start({
    try: () => expect(() => late!.call(goods, { amount: 1 })).toThrow(/after define had returned/),
  });
  const outcome = await app.tcc.run({ gid: 'trying' }, (t) => {
    late = t;
    t.call(money, { amount: 1 });
  });
  expect(outcome).toMatchObject({ status: 'CANCELLED', reason: 'INCOMPLETE', waitingFor: [] });
  expect(await effectsOf(sandbox, 'trying')).toBe('try cancel');
});

test('a call after the end of its transaction throws and changes nothing', async () => {
  const app = await start();
  let late: TccCalls | undefined;
  const outcome = await app.tcc.run({ gid: 'over' }, (t) => {
    late = t;
    t.call(money, { amount: 1 });
  });
  expect(outcome.status).toBe('CONFIRMED');
  expect(() => late!.call(goods, { amount: 1 })).toThrow(/after define had returned/);
  await until('the transaction is marked', async () => (await app.tcc.outcome('over'))?.waitingFor.length === 0);
  expect(await leftOf('over')).toEqual([1, 1, 2, 2]);
});

test('a gid that the initiator still knows is refused, and the work that joined its commit is rolled back', async () => {
  const app = await start();
  const run = () =>
    app.tcc.run({ gid: 'known', within: (tx) => write(tx, 'joined', 'key') as Promise<void> }, (t) =>
      t.call(money, { amount: 1 }),
    );
  await run();
  await expect(run()).rejects.toThrow(/known exists already/);
  expect(await effectsOf(sandbox, 'known')).toBe('try confirm');
  expect(await effectsOf(sandbox, 'joined')).toBe('key');
});
