import { expect, test } from 'vitest';
import { z } from 'zod';
import { until } from '../fixtures/until.js';
import { libraryOf, participantOf } from './little-app.js';
import { useLittleApps } from './little-apps.js';

const TIMES = { timeoutMs: 10_000, callTimeoutMs: 200, secondPhaseWaitMs: 500, markDelayMs: 1 };
const BACKOFF = { firstMs: 30, factor: 1, capMs: 30 };
const library = libraryOf();
const { start, rowOf, untilIs } = useLittleApps('tcc_date_strings', library);

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
