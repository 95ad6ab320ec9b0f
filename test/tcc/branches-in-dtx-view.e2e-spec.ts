import { afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { Participant } from '../../libs/dtx/src/index.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { LittleApp, type LittleOptions, libraryOf, participantOf } from './little-app.js';

const TIMES = { timeoutMs: 10_000, callTimeoutMs: 200, secondPhaseWaitMs: 500, markDelayMs: 1 };
const BACKOFF = { firstMs: 30, factor: 1, capMs: 30 };
const library = libraryOf();
let sandbox: Sandbox;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_branches_shown', { audited: false });
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

async function start(options: Partial<LittleOptions>): Promise<LittleApp> {
  const app = await LittleApp.start({ sandbox, library, core: { leaseMs: 300 }, ...options });
  running.push(app);
  return app;
}

const stateOf = async (gid: string) =>
  (await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_tcc WHERE id = ?', [gid]))[0]!.state;
const untilIs = (gid: string, state: string) =>
  until(`${gid} is ${state}`, async () => (await stateOf(gid)) === state, { withinMs: 15_000 });

test('/dtx shows each branch of an open transaction: applied with its time, or still pending', async () => {
  let isBroken = true;
  const confirm = () => {
    if (isBroken) throw new Error('not this time');
  };
  const { decorators } = library;
  const [served, failing] = ['payment.served', 'payment.stuck'].map((name) =>
    decorators.defineParticipant({ name, version: 1, args: z.object({}) }),
  ) as [Participant<object>, Participant<object>];
  const app = await start({
    providers: [participantOf(library, served, {}), participantOf(library, failing, { confirm })],
    participates: { ...TIMES, backoff: BACKOFF, attemptsMax: 1_000 },
  });
  const outcome = await app.tcc.run({ gid: 'two' }, (calls) => {
    calls.call(served, {});
    calls.call(failing, {});
  });
  expect(outcome).toMatchObject({ status: 'CONFIRMED', waitingFor: ['payment.stuck'] });
  const open = await until('the branch that has applied the decision is recorded', async () => {
    const branches = (await app.shown('two'))?.details?.branches as Array<{ state: string }>;
    return branches.some(({ state }) => state === 'DONE') && branches;
  });
  expect(open).toMatchObject([
    { branch: 0, participant: 'payment.served', version: 1, doneAt: expect.stringMatching(/Z$/), state: 'DONE' },
    { branch: 1, participant: 'payment.stuck', version: 1, doneAt: null, state: 'PENDING' },
  ]);
  isBroken = false;
  await untilIs('two', 'CONFIRMED');
  expect((await app.shown('two'))?.details).toMatchObject({ branches: [{ state: 'DONE' }, { state: 'DONE' }] });
});
