import { afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { Participant } from '../../libs/dtx/src/index.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { type Library, LittleApp, type LittleOptions, libraryOf, participantOf } from './little-app.js';
import { EFFECTS, effectsOf, PICK, recorders, SHIP } from './recording-inventory.js';

/** Two apps, payment and order, begin transactions under the same gid. Inventory takes part in both. */
const KEPT = { scanIntervalMs: 20 };

let sandbox: Sandbox;
let library: Library;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_one_gid', { audited: false });
  library = libraryOf();
  await sql(sandbox, 'inventory', EFFECTS);
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

const contractOf = (name: string): Participant<object> =>
  library.decorators.defineParticipant({ name, version: 1, args: z.object({}) });

async function start(app: AppName, options: Partial<LittleOptions> = {}): Promise<LittleApp> {
  const started = await LittleApp.start({ sandbox, library, app, core: KEPT, ...options });
  running.push(started);
  return started;
}

const inventory = () => start('inventory', { providers: recorders(library) });
const stateOf = async (app: AppName, gid: string) =>
  (await sql<{ state: string }>(sandbox, app, 'SELECT state FROM dtx_tcc WHERE id = ?', [gid]))[0]?.state;
const alertsOn = (app: AppName, gid: string) =>
  sql<{ step: string }>(sandbox, app, 'SELECT step FROM dtx_alert WHERE gid = ?', [gid]);

test('two initiators use one gid one after the other, and each has its own effects', async () => {
  const [payment, order] = [await start('payment'), await start('order'), await inventory()];
  const gid = 'one-after-the-other';
  const outcomes = [
    await payment.tcc.run({ gid }, (t) => t.call(contractOf(PICK), {})),
    await order.tcc.run({ gid }, (t) => t.call(contractOf(SHIP), {})),
    await order.tcc.outcome(gid),
  ];
  expect(outcomes.map((outcome) => outcome?.status)).toEqual(['CONFIRMED', 'CONFIRMED', 'CONFIRMED']);
  expect(await effectsOf(sandbox, gid)).toEqual([
    'pick try for payment',
    'pick confirm for payment',
    'ship try for order',
    'ship confirm for order',
  ]);
});

test('two initiators use one gid with the same participant, and each has its own effects', async () => {
  const [payment, order] = [await start('payment'), await start('order'), await inventory()];
  const gid = 'same-participant';
  const run = (app: LittleApp) => app.tcc.run({ gid }, (t) => t.call(contractOf(PICK), {}));
  const outcomes = await Promise.all([run(payment), run(order)]);
  expect(outcomes.map(({ status }) => status)).toEqual(['CONFIRMED', 'CONFIRMED']);
  expect((await effectsOf(sandbox, gid)).sort()).toEqual(
    ['order', 'payment']
      .flatMap((app) => [`pick confirm for ${app}`])
      .concat(['order', 'payment'].map((app) => `pick try for ${app}`)),
  );
});

test('of two transactions that overlap under one gid, one is cancelled and the other confirmed', async () => {
  let isHeld: () => void = () => {};
  const held = new Promise<void>((resolve) => (isHeld = resolve));
  let release: () => void = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const slow = participantOf(library, contractOf('payment.slow'), {
    try: () => {
      isHeld();
      return released;
    },
  });
  const refuse = participantOf(library, contractOf('order.refuse'), {
    try: () => {
      throw new library.Rejected('NO');
    },
  });
  const payment = await start('payment', { providers: [slow] });
  const order = await start('order', { providers: [refuse] });
  await inventory();
  const gid = 'overlapping';
  const one = payment.tcc.run({ gid, timeoutMs: 30_000 }, (t) => {
    t.call(contractOf(PICK), {});
    t.call(contractOf('payment.slow'), {});
  });
  await held;
  await until('the first has picked', async () => (await effectsOf(sandbox, gid)).length === 1);
  const other = await order.tcc.run({ gid }, (t) => {
    t.call(contractOf(SHIP), {});
    t.call(contractOf('order.refuse'), {});
  });
  release();
  expect(other).toMatchObject({ status: 'CANCELLED', reason: 'NO' });
  expect(await one).toMatchObject({ status: 'CONFIRMED', waitingFor: [] });
  const states = async () => [await stateOf('payment', gid), await stateOf('order', gid)].join(' ');
  await until('both are marked', async () => (await states()) === 'CONFIRMED CANCELLED');
  const effects = await effectsOf(sandbox, gid);
  // The Cancel of ship may come before its Try, which then has no effect at all.
  expect(effects.filter((what) => what.startsWith('ship')).join(', ')).toMatch(
    /^(ship try for order, ship cancel for order)?$/,
  );
  expect(effects.filter((what) => what.startsWith('pick'))).toEqual([
    'pick try for payment',
    'pick confirm for payment',
  ]);
  expect(await alertsOn('inventory', gid)).toEqual([]);
});

test('an initiator reuses a gid that it has forgotten, and a participant that remembers it has separate effects', async () => {
  const payment = await start('payment');
  await inventory();
  const gid = 'used-again';
  const run = () => payment.tcc.run({ gid }, (t) => t.call(contractOf(PICK), {}));
  expect((await run()).status).toBe('CONFIRMED');
  await until('it is marked', async () => (await stateOf('payment', gid)) === 'CONFIRMED');
  // As the purge does after the retention.
  await sql(sandbox, 'payment', 'DELETE t, b FROM dtx_tcc t JOIN dtx_tcc_branch b ON b.gid = t.id WHERE t.id = ?', [
    gid,
  ]);
  expect((await run()).status).toBe('CONFIRMED');
  expect(await effectsOf(sandbox, gid)).toEqual(
    [1, 2].flatMap(() => ['pick try for payment', 'pick confirm for payment']),
  );
});

test('a process that returns late to its transaction decides nothing about another one of the same gid', async () => {
  const gid = 'comes-back';
  const meanwhile = participantOf(library, contractOf('payment.slow'), {
    // While it was stopped its transaction was cancelled and forgotten, and its gid used again.
    try: () => sql(sandbox, 'payment', `UPDATE dtx_tcc SET incarnation = 'b2' WHERE id = ?`, [gid]),
  });
  const payment = await start('payment', { providers: [meanwhile], participates: { secondPhaseWaitMs: 300 } });
  await inventory();
  const run = payment.tcc.run({ gid, timeoutMs: 60_000 }, (t) => {
    t.call(contractOf(PICK), {});
    t.call(contractOf('payment.slow'), {});
  });
  expect(await run).toEqual({ gid, status: 'PENDING', waitingFor: [] });
  expect(await stateOf('payment', gid)).toBe('TRYING');
  expect(await effectsOf(sandbox, gid)).toEqual(['pick try for payment']);
});

test('the purge leaves a gid alone until every transaction under it is over and old', async () => {
  const payment = await start('payment');
  const inventoryApp = await start('inventory', {
    providers: recorders(library),
    core: { ...KEPT, purgeIntervalMs: 50 },
    participates: { retentionMs: 60_000 },
  });
  const call = (gid: string, incarnation: string, phase: 'try' | 'confirm' | 'cancel') =>
    payment.calls.call({ branch: 0, participant: PICK, version: 1, args: {} }, { gid, incarnation, phase }, 5_000);
  const age = (incarnation: string) =>
    inventoryApp.source.query(
      `UPDATE dtx_tcc_barrier SET created_at = created_at - INTERVAL 2 MINUTE WHERE incarnation = ?`,
      [incarnation],
    );
  const rowsOf = async (gid: string) =>
    (await inventoryApp.source.query('SELECT 1 FROM dtx_tcc_barrier WHERE gid = ?', [gid])).length;
  for (const gid of ['purge-over', 'purge-open', 'purge-young']) {
    await call(gid, 'first', 'try');
    await call(gid, 'first', 'confirm');
  }
  await call('purge-open', 'second', 'try');
  await call('purge-young', 'third', 'cancel');
  await age('first');
  await age('second');
  await until('the old finished transaction is purged', async () => (await rowsOf('purge-over')) === 0);
  expect([await rowsOf('purge-open'), await rowsOf('purge-young')]).toEqual([3, 4]);
  await call('purge-open', 'second', 'confirm');
  await age('second');
  await age('third');
  await until('the others follow', async () => (await rowsOf('purge-open')) + (await rowsOf('purge-young')) === 0);
});
