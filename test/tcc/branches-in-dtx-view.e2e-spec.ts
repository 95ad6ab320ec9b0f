import { expect, test } from 'vitest';
import { z } from 'zod';
import type { Participant } from '../../libs/dtx/src/index.js';
import { until } from '../fixtures/until.js';
import { libraryOf, participantOf } from './little-app.js';
import { useLittleApps } from './little-apps.js';

const TIMES = { timeoutMs: 10_000, callTimeoutMs: 200, secondPhaseWaitMs: 500, markDelayMs: 1 };
const BACKOFF = { firstMs: 30, factor: 1, capMs: 30 };
const library = libraryOf();
const { start, untilIs } = useLittleApps('tcc_branches_shown', library);

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
