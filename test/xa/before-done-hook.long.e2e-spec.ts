import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { decisions, expectNothingLeft, preparedOf } from './branches-and-decisions.js';
import { effectsOf, everywhere, LittleXas, libraryOf, prepareTables } from './little-xa.js';

const library = libraryOf();
let sandbox: Sandbox;
const apps = new LittleXas(() => ({ sandbox, library }));

beforeAll(async () => {
  sandbox = await freshSandbox('xa_before_done');
  await prepareTables(sandbox, library);
});

afterEach(() => apps.closeAll());

afterAll(() => expectNothingLeft(sandbox));

/** More attempts in all than a stopped process can hold its session: XA refuses fewer. */
const SHORT = { firstMs: 2_200, factor: 1, capMs: 2_200 };

const stateOf = async (gid: string) => (await decisions(sandbox, gid))[0]?.state;
const alertsOf = (gid: string) =>
  sql<{ alert_error: string; closed_at: Date | null }>(
    sandbox,
    'order',
    'SELECT alert_error, closed_at FROM dtx_alert WHERE gid = ?',
    [gid],
  );

/** A transaction whose caller has its answer, and whose app dies before it has run the hook. */
async function leftByAnother(gid: string): Promise<void> {
  const young = await apps.start();
  young.context.get(library.Xa).beforeDone(async () => {
    throw new library.BrokerUnavailable('the broker is away');
  });
  await young.run(gid, everywhere(gid));
  await apps.close(young);
  expect(await stateOf(gid)).toBe('COMMITTING');
}

test('an instance without the hook carries branches out and leaves the hook to an instance that has it', async () => {
  await leftByAnother('left');
  const old = await apps.start();
  await old.run('of-the-old', everywhere('of-the-old'));
  await until('the old one is done with its own', async () => (await stateOf('of-the-old')) === 'DONE');
  const looks = () =>
    sql(
      sandbox,
      'order',
      `SELECT 1 FROM dtx_xa WHERE gid = 'left' AND last_error LIKE '%this instance has no such hook%'`,
    );
  await until('the old one has looked at it', async () => (await looks()).length === 1, { withinMs: 10_000 });
  expect(await preparedOf(sandbox)).toEqual([]);
  expect(await effectsOf(sandbox, 'left')).toHaveLength(3);
  expect(await decisions(sandbox, 'left')).toMatchObject([{ state: 'COMMITTING', attempts: 0 }]);

  // Both would take turns at it, and chance alone would say when the young one looks.
  await apps.close(old);
  const told: string[] = [];
  const young = await apps.start();
  young.context.get(library.Xa).beforeDone(async (gid) => void told.push(gid));
  await until('it is done', async () => (await stateOf('left')) === 'DONE', { withinMs: 20_000 });
  expect(told).toEqual(['left']);
  expect(await alertsOf('left')).toEqual([]);
});

test('a hook that no instance has raises one alert, which closes when an instance runs it', async () => {
  await leftByAnother('unhooked');
  await apps.start({ core: { absentMs: 1_000 } });
  await until('the alert is raised', async () => (await alertsOf('unhooked')).length === 1, { withinMs: 20_000 });
  expect((await alertsOf('unhooked'))[0]).toMatchObject({
    alert_error: expect.stringContaining('xa.beforeDone'),
    closed_at: null,
  });
  const young = await apps.start();
  young.context.get(library.Xa).beforeDone(async () => {});
  await until('it is done', async () => (await stateOf('unhooked')) === 'DONE', { withinMs: 20_000 });
  await until('the alert is closed', async () => (await alertsOf('unhooked'))[0]!.closed_at !== null);
  expect(await alertsOf('unhooked')).toHaveLength(1);
});

test('a hook that never ends costs an attempt each time, and is parked in the end while the effects stand', async () => {
  const app = await apps.start({
    core: { handlerTimeoutMs: 200 },
    xa: { attemptsMax: 2, backoff: SHORT, timeoutMs: 100 },
  });
  app.context.get(library.Xa).beforeDone(() => new Promise(() => {}));
  await app.run('endless-hook', everywhere('endless-hook'));
  await until('it is parked', async () => (await stateOf('endless-hook')) === 'PARKED', { withinMs: 20_000 });
  expect(await decisions(sandbox, 'endless-hook')).toMatchObject([{ decision: 'COMMIT', attempts: 2 }]);
  expect((await alertsOf('endless-hook'))[0]!.alert_error).toContain('has not ended within 200 ms (handlerTimeoutMs)');
  expect(await effectsOf(sandbox, 'endless-hook')).toHaveLength(3);
  await apps.close(app);
  const young = await apps.start();
  young.context.get(library.Xa).beforeDone(async () => {});
  await sql(
    sandbox,
    'order',
    `UPDATE dtx_xa SET state = 'COMMITTING', next_attempt_at = UTC_TIMESTAMP(3) WHERE gid = 'endless-hook'`,
  );
  await until('it is done', async () => (await stateOf('endless-hook')) === 'DONE', { withinMs: 20_000 });
});
