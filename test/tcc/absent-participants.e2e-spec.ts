import { expect, test } from 'vitest';
import { z } from 'zod';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { type LittleApp, type LittleOptions, libraryOf, participantOf } from './little-app.js';
import { useLittleApps } from './little-apps.js';

const TIMES = { timeoutMs: 300, callTimeoutMs: 200, secondPhaseWaitMs: 500, markDelayMs: 1 };
const BACKOFF = { firstMs: 30, factor: 1, capMs: 30 };
const library = libraryOf();
const contract = library.decorators.defineParticipant({ name: 'payment.absent', version: 1, args: z.object({}) });
const apps = useLittleApps('tcc_absence', library);
const { start, rowOf, untilIs } = apps;

/** No participant answers the Try, so the transaction is cancelled. No participant takes the Cancel either. */
async function leaveOpen(gid: string, tcc: LittleOptions['participates']): Promise<LittleApp> {
  const app = await start({ participates: { ...TIMES, ...tcc, backoff: BACKOFF } });
  const outcome = await app.tcc.run({ gid }, (calls) => void calls.call(contract, {}));
  expect(outcome).toMatchObject({ status: 'CANCELLED', reason: 'TIMEOUT', waitingFor: ['payment.absent'] });
  return app;
}

const alertsOn = (gid: string) => sql(apps.sandbox, 'payment', 'SELECT id FROM dtx_alert WHERE subject_id = ?', [gid]);
const participant = () => participantOf(library, contract, { withoutTry: true });

test('a participant that is unavailable for a while costs no attempt, and its branches are carried out after its return', async () => {
  await leaveOpen('short', { absentMs: 60_000, attemptsMax: 2 });
  const calls = async () =>
    (
      await sql(
        apps.sandbox,
        'payment',
        'SELECT 1 FROM dtx_tcc WHERE id = ? AND next_attempt_at > UTC_TIMESTAMP(3) + INTERVAL 150000 MICROSECOND',
        ['short'],
      )
    ).length;
  // It was claimed again so often that counted attempts would be exhausted.
  for (let rounds = 0; rounds < 3; rounds++) {
    await until('it is claimed', async () => (await calls()) === 1);
    await until('its lease expires', async () => (await calls()) === 0);
  }
  expect(await rowOf('short')).toMatchObject({ state: 'CANCELLING', attempts: 0 });
  await start({ providers: [participant()] });
  await untilIs('short', 'CANCELLED');
  expect(await alertsOn('short')).toEqual([]);
});

test('a participant that no instance serves any more raises one alert, and a retry by hand finishes the transaction after its return', async () => {
  const app = await leaveOpen('long', { absentMs: 400, attemptsMax: 3 });
  await untilIs('long', 'PARKED');
  expect(await rowOf('long')).toMatchObject({
    attempts: 3,
    last_error: expect.stringContaining('no instance of the participant runs'),
  });
  expect(await alertsOn('long')).toHaveLength(1);
  await apps.stop(app);
  await start({ providers: [participant()] });
  await sql(
    apps.sandbox,
    'payment',
    `UPDATE dtx_tcc SET state = 'CANCELLING', attempts = 0, next_attempt_at = UTC_TIMESTAMP(3) WHERE id = 'long'`,
  );
  await untilIs('long', 'CANCELLED');
});
