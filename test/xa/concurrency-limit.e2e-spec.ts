import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { decisions, expectNothingLeft } from './branches-and-decisions.js';
import { effectsOf, everywhere, LittleXas, libraryOf, prepareTables } from './little-xa.js';

const library = libraryOf();
/** One transaction at once has room for two second phases. */
const NARROW = { concurrencyMax: 1 };
let sandbox: Sandbox;
const apps = new LittleXas(() => ({ sandbox, library }));

beforeAll(async () => {
  sandbox = await freshSandbox('xa_admission');
  await prepareTables(sandbox, library);
});

afterEach(() => apps.closeAll());

afterAll(() => expectNothingLeft(sandbox));

const untilAllAreOver = () =>
  until('all are over', async () => (await decisions(sandbox)).every(({ state }) => state === 'DONE'));

test('a caller that waits too long for a connection is answered in time, and the other callers succeed', async () => {
  const app = await apps.start({ xa: { concurrencyMax: 2, acquireTimeoutMs: 300, waitersMax: 4 } });
  const since = performance.now();
  const calls = Array.from({ length: 12 }, async (_, n) => {
    const gid = `crowd-${n}`;
    return app.run(gid, async (managers) => {
      await everywhere(gid)(managers);
      await managers.payment!.query('SELECT SLEEP(0.2)');
    });
  });
  const ends = await Promise.allSettled(calls);
  expect(performance.now() - since).toBeLessThan(5_000);
  const refused = ends.filter((one) => one.status === 'rejected');
  expect(refused.length).toBeGreaterThanOrEqual(6);
  for (const { reason } of refused) expect(reason).toMatchObject({ name: 'XaUnavailable' });
  for (const [n, { status }] of ends.entries())
    expect(await effectsOf(sandbox, `crowd-${n}`)).toHaveLength(status === 'fulfilled' ? 3 : 0);
});

test('work that never ends is given up at its deadline, and the next transaction gets its place', async () => {
  const timeoutMs = 500;
  const app = await apps.start({ xa: { ...NARROW, timeoutMs } });
  const since = performance.now();
  let late: Record<string, { query(sql: string): Promise<unknown> }> = {};
  const endless = app.run('endless', async (managers) => {
    late = managers;
    await everywhere('endless')(managers);
    await new Promise(() => {});
  });
  await expect(endless).rejects.toMatchObject({ name: 'XaUnavailable' });
  expect(performance.now() - since).toBeLessThan(timeoutMs + 10_000);
  expect(await effectsOf(sandbox, 'endless')).toEqual([]);
  await app.run('after-endless', everywhere('after-endless'));
  expect(await effectsOf(sandbox, 'after-endless')).toHaveLength(3);
  // If it wakes up after all, its transaction is over.
  await expect(late.payment!.query(`INSERT INTO effect VALUES ('endless', 2)`)).rejects.toThrow(
    /is over|already released/,
  );
});

test('a hook with an unknown outcome raises an alert and keeps neither branches nor connections', async () => {
  const app = await apps.start({ xa: { ...NARROW, timeoutMs: 10_000 } });
  const { hooks } = app.context.get(library.Database);
  const run = app.run('unknowing', async (managers) => {
    await everywhere('unknowing')(managers);
    hooks.afterCommit(managers.order!, async () => {
      throw new library.OutcomeUnknown('not known');
    });
  });
  await expect(run).rejects.toThrow('not known');
  await app.run('after-unknowing', everywhere('after-unknowing'));
  for (const gid of ['unknowing', 'after-unknowing']) expect(await effectsOf(sandbox, gid)).toHaveLength(3);
  await untilAllAreOver();
});

test('a hook that never ends keeps neither its caller nor its place longer than the time of the second phase', async () => {
  const app = await apps.start({ xa: { ...NARROW, secondPhaseWaitMs: 300 } });
  const { hooks } = app.context.get(library.Database);
  await app.run('hook-endless', async (managers) => {
    await everywhere('hook-endless')(managers);
    hooks.afterCommit(managers.order!, () => new Promise(() => {}));
  });
  await app.run('after-the-hook', everywhere('after-the-hook'));
  for (const gid of ['hook-endless', 'after-the-hook']) expect(await effectsOf(sandbox, gid)).toHaveLength(3);
  await untilAllAreOver();
});
