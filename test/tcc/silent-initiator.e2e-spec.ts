import { afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { type Library, LittleApp, libraryOf, participantOf } from './little-app.js';

let sandbox: Sandbox;
let library: Library;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_silent_initiator', { audited: false });
  library = libraryOf();
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

async function start(absentMs: number, hold: () => unknown = () => {}): Promise<LittleApp> {
  const contract = library.decorators.defineParticipant({ name: 'payment.hold', version: 1, args: z.object({}) });
  const providers = [participantOf(library, contract, { try: hold })];
  const app = await LittleApp.start({ sandbox, library, providers, participates: { absentMs } });
  running.push(app);
  return app;
}

/** A call as an initiator makes it that dies after it. */
const call = (app: LittleApp, gid: string, { branch = 0, phase }: { branch?: number; phase: 'try' | 'cancel' }) =>
  app.calls.call(
    { branch, participant: 'payment.hold', version: 1, args: {} },
    { gid, incarnation: 'a1', phase },
    5_000,
  );

const alertsOf = (gid: string) =>
  sql<{ step: string; alert_error: string; closed_at: Date | null }>(
    sandbox,
    'payment',
    'SELECT step, alert_error, closed_at FROM dtx_alert WHERE gid = ?',
    [gid],
  );

test('Tries whose initiator falls silent raise one alert each, which closes with their second phase', async () => {
  // Two of them look at the same rows.
  const [app] = [await start(1_000), await start(1_000)];
  for (const branch of [0, 1])
    expect(await call(app, 'silent', { branch, phase: 'try' })).toMatchObject({ verdict: 'ok' });
  await call(app, 'heard', { phase: 'try' });
  await call(app, 'heard', { phase: 'cancel' });
  await call(app, 'never-tried', { phase: 'cancel' });
  await until('the alert is raised', async () => (await alertsOf('silent')).length > 0);
  await call(app, 'silent', { branch: 0, phase: 'cancel' });
  await call(app, 'later', { phase: 'try' });
  await until('the next one raises its alert', async () => (await alertsOf('later')).length > 0);
  expect(await alertsOf('silent')).toEqual([
    {
      step: 'waiting for the second phase at payment.hold',
      alert_error: expect.stringMatching(/no second phase for \d+ s after a Try.*decision of payment on silent/),
      closed_at: null,
    },
  ]);
  for (const gid of ['heard', 'never-tried']) expect(await alertsOf(gid)).toEqual([]);
  for (const [gid, branch] of [
    ['silent', 1],
    ['later', 0],
  ] as const)
    await call(app, gid, { branch, phase: 'cancel' });
  for (const gid of ['silent', 'later'])
    await until(`the alert on ${gid} is closed`, async () => (await alertsOf(gid))[0]!.closed_at !== null);
});

test('a Try that was open before the start raises an alert, and a young one does not', async () => {
  const first = await start(600_000);
  await call(first, 'from-before', { phase: 'try' });
  await first.close();
  running.pop();
  await sql(
    sandbox,
    'payment',
    `UPDATE dtx_tcc_barrier SET created_at = created_at - INTERVAL 1 HOUR WHERE gid = 'from-before'`,
  );
  const app = await start(600_000);
  await call(app, 'young', { phase: 'try' });
  await until('the alert is raised', async () => (await alertsOf('from-before')).length > 0);
  expect(await alertsOf('young')).toEqual([]);
});

test('a Try that is committed later than absentMs after its begin raises its alert too', async () => {
  let [hasBegun, isHeld] = [false, true];
  const app = await start(300, async () => {
    hasBegun = true;
    await until('it may end', () => !isHeld);
  });
  const slow = call(app, 'slow', { phase: 'try' });
  await until('the slow one has begun', () => hasBegun);
  // The check goes past the time at which the slow one began.
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_tcc_barrier (gid, branch, phase, op, participant, initiator, incarnation, created_at)
     VALUES ('quick', 0, 'try', 'try', 'payment.hold', 'payment', 'a1', UTC_TIMESTAMP(3))`,
  );
  await until('the quick one raises its alert', async () => (await alertsOf('quick')).length > 0);
  isHeld = false;
  expect(await slow).toMatchObject({ verdict: 'ok' });
  await until('the slow one raises its alert', async () => (await alertsOf('slow')).length > 0);
});
