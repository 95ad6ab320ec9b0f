import { afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { type Library, LittleApp, type LittleOptions, libraryOf, participantOf } from './little-app.js';

// Calls that no repetition can help, and rows that no repetition may touch.
const FAR_MS = 60_000;
let sandbox: Sandbox;
let library: Library;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_hopeless', { audited: false });
  library = libraryOf();
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

async function start(options: Partial<LittleOptions> = {}): Promise<LittleApp> {
  const app = await LittleApp.start({ sandbox, library, ...options });
  running.push(app);
  return app;
}

interface Row {
  state: string;
  attempts: number;
  last_error: string | null;
  is_at_deadline: number | null;
  claim_token: string | null;
}
const rowOf = async (gid: string) =>
  (
    await sql<Row>(
      sandbox,
      'payment',
      'SELECT state, attempts, last_error, claim_token, next_attempt_at = deadline AS is_at_deadline FROM dtx_tcc WHERE id = ?',
      [gid],
    )
  )[0]!;
const alertsOn = (gid: string) => sql(sandbox, 'payment', 'SELECT id FROM dtx_alert WHERE gid = ?', [gid]);

test('arguments that the only version has changed meanwhile are parked at the first Confirm, with one alert', async () => {
  const { defineParticipant } = library.decorators;
  const before = defineParticipant({ name: 'payment.changed', version: 1, args: z.looseObject({}) });
  const after = defineParticipant({ name: 'payment.changed', version: 1, args: z.object({ amount: z.int() }) });
  const confirm = () => {
    throw new Error('not yet');
  };
  const slow = { backoff: { firstMs: FAR_MS, factor: 1, capMs: FAR_MS } };
  const old = await start({ providers: [participantOf(library, before, { confirm })], participates: slow });
  await old.tcc.run({ gid: 'changed' }, (t) => t.call(before, {}));
  await until('the Confirm has failed', async () => (await rowOf('changed')).attempts === 1);
  await Promise.all(running.splice(0).map((app) => app.close()));
  await start({ providers: [participantOf(library, after, {})], participates: slow });
  await sql(sandbox, 'payment', `UPDATE dtx_tcc SET next_attempt_at = UTC_TIMESTAMP(3) WHERE id = 'changed'`);
  await until('it is parked', async () => (await rowOf('changed')).state === 'PARKED');
  expect(await rowOf('changed')).toMatchObject({
    attempts: 1,
    last_error: expect.stringContaining('arguments do not fit payment.changed'),
  });
  expect(await alertsOn('changed')).toHaveLength(1);
});

test('an undecided transaction that an operator retries keeps its deadline, and is claimed once', async () => {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const contract = library.decorators.defineParticipant({ name: 'payment.held', version: 1, args: z.object({}) });
  const app = await start({ providers: [participantOf(library, contract, { try: () => held })] });
  const run = app.tcc.run({ gid: 'retried', timeoutMs: FAR_MS }, (t) => t.call(contract, {}));
  await until('it is registered', async () => (await rowOf('retried')) !== undefined);
  await sql(sandbox, 'payment', `UPDATE dtx_tcc SET next_attempt_at = UTC_TIMESTAMP(3) WHERE id = 'retried'`);
  await until('its deadline is back', async () => Number((await rowOf('retried')).is_at_deadline) === 1);
  expect(await rowOf('retried')).toMatchObject({ state: 'TRYING', claim_token: null });
  release();
  expect(await run).toMatchObject({ status: 'CONFIRMED' });
});

test('a reader of a parked transaction does not wait, and a reader of an open one waits for its end', async () => {
  let isBroken = true;
  const confirm = () => {
    if (isBroken) throw new Error('not this time');
  };
  const contract = library.decorators.defineParticipant({ name: 'payment.parked', version: 1, args: z.object({}) });
  const app = await start({
    providers: [participantOf(library, contract, { confirm })],
    participates: { attemptsMax: 1 },
  });
  await app.tcc.run({ gid: 'parked' }, (t) => t.call(contract, {}));
  await until('it is parked', async () => (await rowOf('parked')).state === 'PARKED');
  // A wait of ten minutes would exceed the time limit of this test.
  const read = () => app.tcc.outcome('parked', 600_000);
  expect(await read()).toMatchObject({ status: 'CONFIRMED', waitingFor: ['payment.parked'] });
  isBroken = false;
  await sql(
    sandbox,
    'payment',
    `UPDATE dtx_tcc SET state = 'CONFIRMING', attempts = 0, next_attempt_at = UTC_TIMESTAMP(3) + INTERVAL 1 SECOND WHERE id = 'parked'`,
  );
  const outcomes = await Promise.all(Array.from({ length: 50 }, read));
  expect(outcomes.map((outcome) => outcome?.waitingFor)).toEqual(outcomes.map(() => []));
});
