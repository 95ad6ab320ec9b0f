import { afterEach, beforeEach, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import {
  decisions,
  expectNothingLeft,
  logIdOf,
  openAlerts,
  preparedOf,
  recover,
  witnesses,
} from './branches-and-decisions.js';
import { begin, decideToCommit, endAll, FORMAT_ID, orphan, prepare } from './branches-by-hand.js';
import { copyOf } from './database-copies.js';
import { effectsOf, everywhere, type LittleXa, LittleXas, libraryOf, prepareTables } from './little-xa.js';

const library = libraryOf();
const QUICK = { logCheckIntervalMs: 300, acquireTimeoutMs: 300 };
let sandbox: Sandbox;
let count = 0;
const apps = new LittleXas(() => ({ sandbox, library, xa: QUICK }));

beforeEach(async () => {
  sandbox = await freshSandbox(`xa_home_${++count}`, { audited: false });
  await prepareTables(sandbox, library);
  await apps.close(await apps.start()); // makes the log, bound to where it is
});

afterEach(async () => {
  await apps.closeAll();
  await endAll(sandbox);
});

/** A decision of a process that died right then. It is not due before an hour has passed. */
async function decided(): Promise<{ id: string; gtrid: string }> {
  const begun = await begin(sandbox, { ageMs: 6_000 });
  for (const app of ['payment', 'inventory'] as const)
    await prepare(sandbox, app, { gtrid: begun.gtrid, formatId: FORMAT_ID });
  return begun;
}

const preparedAt = async (gtrid: string) =>
  (await preparedOf(sandbox)).filter((one) => one.gtrid === gtrid).map(({ app }) => app);

/** Looks were taken since: an orphan of the app's own is rolled back. */
async function looksAreTaken(of: Sandbox): Promise<void> {
  const { gtrid } = await orphan(of, { ageMs: 1_000 });
  const isLeft = async () => (await recover(of, 'payment')).some((one) => one.gtrid === gtrid);
  await until('an orphan of its own is rolled back', async () => !(await isLeft()));
}

const refusalOf = (app: LittleXa, gid: string) =>
  app.run(gid, everywhere(gid)).then(
    () => 'none',
    (error: Error) => `${error.name}: ${error.message}`,
  );

test('a copy of the log begins nothing, ends no branch of the original and raises one alert', async () => {
  const transaction = await decided();
  const copy = await copyOf(sandbox);
  await decideToCommit(sandbox, { ...transaction, isDue: false });
  const [app] = await Promise.all([apps.start({ sandbox: copy }), apps.start({ sandbox: copy })]);
  const [alert] = await until('the alert is open', async () => {
    const open = await openAlerts(copy);
    return open.length > 0 && open;
  });
  expect(alert).toMatchObject({
    subject: 'log.moved',
    error: expect.stringMatching(/If this is a copy: POST .*reject/),
  });
  expect(await refusalOf(app, 'at-the-copy')).toMatch(/^XaUnavailable: the decision log is not where it belongs/);
  expect(await openAlerts(copy)).toHaveLength(1);
  expect(await preparedAt(transaction.gtrid)).toEqual(['payment', 'inventory']);

  expect(await app.resolve('log.moved', 'reject')).toBe('done');
  await until('it has a log of its own', () => app.run('own-log', everywhere('own-log')).then(() => true));
  expect(await logIdOf(copy)).not.toBe(await logIdOf(sandbox));
  expect(await openAlerts(copy)).toEqual([]);
  await looksAreTaken(copy);
  expect(await preparedAt(transaction.gtrid)).toEqual(['payment', 'inventory']);
  await expectNothingLeft(copy);
  await apps.closeAll();

  await sql(sandbox, 'order', 'UPDATE dtx_xa SET next_attempt_at = UTC_TIMESTAMP(3) WHERE id = ?', [transaction.id]);
  await apps.start();
  await until(
    'the original carries it out',
    async () => (await witnesses(sandbox, transaction.gtrid)).join() === 'branch,branch',
  );
  await expectNothingLeft(sandbox);
});

test('a copy that is taken for the original ends no branch without a trace in its own databases', async () => {
  const [undecided, rolledBack] = [await decided(), await decided()];
  const copy = await copyOf(sandbox);
  await sql(copy, 'order', 'UPDATE dtx_xa_log SET home = NULL');
  await decideToCommit(copy, rolledBack);
  await sql(copy, 'order', `UPDATE dtx_xa SET decision = 'ROLLBACK', state = 'ROLLING_BACK' WHERE id = ?`, [
    rolledBack.id,
  ]);
  const app = await apps.start({ sandbox: copy });
  await app.run('taken-for-it', everywhere('taken-for-it'));
  await looksAreTaken(copy);
  await until('its own row is over', async () => (await decisions(copy, rolledBack.id))[0]?.state === 'DONE');
  for (const { gtrid } of [undecided, rolledBack]) expect(await preparedAt(gtrid)).toEqual(['payment', 'inventory']);
  expect((await decisions(copy)).map(({ id }) => id)).not.toContain(undecided.id);
});

test('after a failover no transaction is begun or ended until a person confirms it', async () => {
  const transaction = await decided();
  await decideToCommit(sandbox, transaction);
  const { gtrid } = await orphan(sandbox);
  await sql(sandbox, 'order', `UPDATE dtx_xa_log SET home = 'old-primary/1/data'`);
  const app = await apps.start();
  expect(await refusalOf(app, 'too-soon')).toMatch(/it was bound to old-primary\/1\/data, and is now read from /);
  const open = await until('the alert is open', async () => {
    const alerts = await openAlerts(sandbox);
    return alerts.length > 0 && alerts;
  });
  expect(open).toMatchObject([{ subject: 'log.moved', error: expect.stringMatching(/After a failover .*"done"/) }]);
  expect(await preparedAt(gtrid)).toEqual(['payment']);
  expect(await preparedAt(transaction.gtrid)).toEqual(['payment', 'inventory']);

  expect(await app.resolve('log.moved', 'done')).toBe('done');
  await expectNothingLeft(sandbox);
  expect(await witnesses(sandbox, transaction.gtrid)).toEqual(['branch', 'branch']);
  expect(await witnesses(sandbox, gtrid)).toEqual(['recovery', 'recovery']);
  await app.run('confirmed', everywhere('confirmed'));
  expect(await effectsOf(sandbox, 'confirmed')).toHaveLength(3);
  expect(await openAlerts(sandbox)).toEqual([]);
});

test('a failover under a running app stops it at its next transaction', async () => {
  const app = await apps.start();
  await app.run('before', everywhere('before'));
  await sql(sandbox, 'order', `UPDATE dtx_xa_log SET home = 'old-primary/1/data'`);
  await until('it is noticed', async () => /now read from/.test(await refusalOf(app, 'after')));
  expect(await effectsOf(sandbox, 'after')).toEqual([]);
  await until('the alert is open', async () => (await openAlerts(sandbox)).length === 1);
  expect(await app.resolve('log.moved', 'done')).toBe('done');
  await until('it goes on', () => app.run('going-on', everywhere('going-on')).then(() => true));
});

test('a deployment with a name recognizes its log after a failover, and no other one does', async () => {
  const named = (deployment: string) => ({ xa: { ...QUICK, deployment } });
  await apps.close(await apps.start(named('orders-production')));
  await sql(sandbox, 'order', `UPDATE dtx_xa_log SET home = 'old-primary/1/data'`);
  const staging = await apps.start(named('orders-staging'));
  expect(await refusalOf(staging, 'by-another')).toMatch(/it was bound to old-primary/);
  await apps.close(staging);
  await sql(sandbox, 'order', `DELETE FROM dtx_xa WHERE id = 'log.moved'`);
  await sql(sandbox, 'order', 'DELETE FROM dtx_alert');

  const { gtrid } = await orphan(sandbox);
  const app = await apps.start(named('orders-production'));
  await until('the orphan is rolled back', async () => (await preparedAt(gtrid)).length === 0);
  await app.run('recognized', everywhere('recognized'));
  expect(await openAlerts(sandbox)).toEqual([]);
});
