import { afterEach, beforeAll, expect, test } from 'vitest';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { LittleApp, type LittleOptions, libraryOf } from './little-app.js';
import { EFFECTS, effectsOf, PICK, recorders, SHIP } from './recording-inventory.js';

const library = libraryOf();
let sandbox: Sandbox;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_barrier_refusals', { audited: false });
  await sql(sandbox, 'inventory', EFFECTS);
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

async function start(app: AppName, options: Partial<LittleOptions> = {}): Promise<LittleApp> {
  const started = await LittleApp.start({ sandbox, library, app, ...options });
  running.push(started);
  return started;
}

const inventory = () => start('inventory', { providers: recorders(library) });
const alertsOn = (gid: string) =>
  sql<{ step: string }>(sandbox, 'inventory', 'SELECT step FROM dtx_alert WHERE gid = ?', [gid]);

test('a call under the name of a branch of another participant is illegal, with one alert, and changes nothing', async () => {
  const payment = await start('payment');
  await inventory();
  const [gid, incarnation] = ['not-its-branch', 'a1'];
  const call = (participant: string, phase: 'try' | 'confirm' | 'cancel') =>
    payment.calls.call({ branch: 0, participant, version: 1, args: {} }, { gid, incarnation, phase }, 5_000);
  const barrier = () => sql(sandbox, 'inventory', 'SELECT * FROM dtx_tcc_barrier WHERE gid = ?', [gid]);
  expect(await call(PICK, 'try')).toMatchObject({ verdict: 'ok' });
  const before = await barrier();
  for (const phase of ['try', 'confirm', 'cancel'] as const)
    expect(await call(SHIP, phase)).toEqual({
      callId: expect.any(String),
      verdict: 'illegal',
      reason: expect.stringContaining('branch 0 belongs to inventory.pick'),
    });
  expect(await barrier()).toEqual(before);
  expect(await effectsOf(sandbox, gid)).toEqual(['pick try for payment']);
  expect(await alertsOn(gid)).toEqual([{ step: 'branch 0 belongs to inventory.pick at inventory.ship' }]);
  expect(await call(PICK, 'confirm')).toMatchObject({ verdict: 'ok' });
});

test.each(['confirm', 'cancel'] as const)('a Try after its %s is refused and has no effect', async (phase) => {
  const payment = await start('payment');
  await inventory();
  const about = { gid: `late-after-${phase}`, incarnation: 'a1' };
  const branch = { branch: 0, participant: PICK, version: 1, args: {} };
  const call = async (made: 'try' | 'confirm' | 'cancel') =>
    (await payment.calls.call(branch, { ...about, phase: made }, 5_000)).verdict;
  expect([await call('try'), await call(phase), await call('try')]).toEqual(['ok', 'ok', 'refused']);
  expect(await effectsOf(sandbox, about.gid)).toEqual(['pick try for payment', `pick ${phase} for payment`]);
});
