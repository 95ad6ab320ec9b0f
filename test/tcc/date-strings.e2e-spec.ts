import { afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { LittleApp, type LittleOptions, libraryOf, participantOf } from './little-app.js';

const TIMES = { timeoutMs: 10_000, callTimeoutMs: 200, secondPhaseWaitMs: 500, markDelayMs: 1 };
const BACKOFF = { firstMs: 30, factor: 1, capMs: 30 };
const library = libraryOf();
let sandbox: Sandbox;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_date_strings', { audited: false });
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

async function start(options: Partial<LittleOptions>): Promise<LittleApp> {
  const app = await LittleApp.start({ sandbox, library, core: { leaseMs: 300 }, ...options });
  running.push(app);
  return app;
}

const rowOf = async (gid: string) =>
  (
    await sql<{ state: string; attempts: number; last_error: string }>(
      sandbox,
      'payment',
      'SELECT state, attempts, last_error FROM dtx_tcc WHERE id = ?',
      [gid],
    )
  )[0]!;
const untilIs = (gid: string, state: string) =>
  until(`${gid} is ${state}`, async () => (await rowOf(gid)).state === state, { withinMs: 15_000 });

test('a DataSource with dateStrings is read: the decision is answered and carried out in a second round', async () => {
  let isBroken = true;
  const confirm = () => {
    if (isBroken) throw new Error('not this time');
  };
  const { decorators } = library;
  const failing = decorators.defineParticipant({ name: 'payment.failing', version: 1, args: z.object({}) });
  const app = await start({
    providers: [participantOf(library, failing, { confirm })],
    participates: { ...TIMES, backoff: BACKOFF, attemptsMax: 1_000 },
    source: { dateStrings: true },
  });
  const outcome = await app.tcc.run({ gid: 'text' }, (calls) => void calls.call(failing, {}));
  expect(outcome).toMatchObject({ status: 'CONFIRMED', waitingFor: ['payment.failing'] });
  await until('a second round has failed', async () => (await rowOf('text')).attempts >= 2);
  expect(await rowOf('text')).toMatchObject({ last_error: expect.stringContaining('not this time') });
  isBroken = false;
  await untilIs('text', 'CONFIRMED');
  expect((await app.tcc.outcome('text'))?.decidedAt?.getTime()).toBe(outcome.decidedAt?.getTime());
});
