import { afterEach, beforeEach, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';
import { decisions, openAlerts, preparedOf, witnesses } from './branches-and-decisions.js';
import { begin, decideToCommit, endAll, FORMAT_ID, finish, orphan, prepare } from './branches-by-hand.js';
import { ALL, LittleXas, libraryOf, prepareTables } from './little-xa.js';

const library = libraryOf();
let sandbox: Sandbox;
let count = 0;
const apps = new LittleXas(() => ({ sandbox, library, xa: { logCheckIntervalMs: 300 } }));

/** Each log is damaged in another way, so each test has one of its own. */
beforeEach(async () => {
  sandbox = await freshSandbox(`xa_whole_${++count}`, { audited: false });
  await prepareTables(sandbox, library);
  await apps.close(await apps.start()); // makes the log
});

afterEach(async () => {
  await apps.closeAll();
  await endAll(sandbox);
});

const preparedAt = async (gtrid: string) =>
  (await preparedOf(sandbox)).filter((one) => one.gtrid === gtrid).map(({ app }) => app);
const untilAlert = (subject: string) =>
  until(
    `the alert ${subject} is open`,
    async () => (await openAlerts(sandbox)).find((one) => one.subject === subject),
    { withinMs: 90_000 },
  );

/** Prepared in both databases, as a process leaves it that dies before its second phase. */
async function inBoth(ageMs?: number): Promise<{ id: string; gtrid: string }> {
  const begun = await begin(sandbox, ageMs === undefined ? {} : { ageMs });
  for (const app of ['payment', 'inventory'] as const)
    await prepare(sandbox, app, { gtrid: begun.gtrid, formatId: FORMAT_ID });
  return begun;
}

/**
 * Looks were taken since: an orphan that began after the fault was found is rolled back. An instance that starts late finds
 * the fault later, and touches no branch that began before that either: then the next orphan is the newer one.
 */
async function aNewerOneIsRolledBack(): Promise<void> {
  const isRolledBack = async () => {
    const { gtrid } = await orphan(sandbox, { ageMs: 0 });
    const isGone = async () => (await preparedAt(gtrid)).length === 0;
    return until('it is gone', isGone, { withinMs: 10_000 }).catch(() => false);
  };
  await until('a newer orphan is rolled back', isRolledBack, { withinMs: 60_000 });
}

test('a log that was emptied proves nothing: prepared branches stay prepared under one alert until a person resolves it', async () => {
  const decided = await inBoth();
  await decideToCommit(sandbox, { ...decided, isDue: false });
  const undecided = await orphan(sandbox, { app: 'inventory' });
  await sql(sandbox, 'order', 'TRUNCATE dtx_xa');

  const [app] = await Promise.all([apps.start(), apps.start()]);
  const alert = await untilAlert('log.truncated');
  expect(alert.error).toMatch(/POST \/dtx\/transactions\/log\.truncated\/resolve/);
  await aNewerOneIsRolledBack();
  expect(await preparedAt(decided.gtrid)).toEqual(['payment', 'inventory']);
  expect(await preparedAt(undecided.gtrid)).toEqual(['inventory']);
  expect(await openAlerts(sandbox)).toEqual([alert]);

  for (const name of ['payment', 'inventory'] as const)
    await finish(sandbox, name, { gtrid: decided.gtrid, formatId: FORMAT_ID, how: 'COMMIT' });
  expect(await app.resolve('log.truncated', 'reject')).toBe('not-possible');
  expect(await app.resolve('log.truncated', 'done')).toBe('done');
  await until('the rest is rolled back', async () => (await preparedOf(sandbox)).length === 0);
  expect(await witnesses(sandbox, decided.gtrid)).toEqual(['branch', 'branch']);
  await aNewerOneIsRolledBack();
  // The branch that the person has committed by hand raises no new alert.
  expect(await openAlerts(sandbox)).toEqual([]);

  await sql(sandbox, 'order', 'TRUNCATE dtx_xa');
  await untilAlert('log.truncated');
});

test('a branch whose sibling was committed is never rolled back, even if the log has no decision', async () => {
  const { id, gtrid } = await inBoth();
  await finish(sandbox, 'payment', { gtrid, formatId: FORMAT_ID, how: 'COMMIT' });
  const other = await orphan(sandbox);
  const [app] = await Promise.all([apps.start(), apps.start()]);
  const alert = await untilAlert('log.tail');
  expect(alert.error).toMatch(new RegExp(`has committed ${gtrid}`));
  await aNewerOneIsRolledBack();
  expect(await preparedAt(gtrid)).toEqual(['inventory']);
  expect(await preparedAt(other.gtrid)).toEqual(['payment']);
  expect(await witnesses(sandbox, gtrid)).toEqual(['branch', '']);
  expect((await decisions(sandbox)).map((row) => row.id)).not.toContain(id);
  expect(await openAlerts(sandbox)).toHaveLength(1);

  await finish(sandbox, 'inventory', { gtrid, formatId: FORMAT_ID, how: 'COMMIT' });
  expect(await app.resolve('log.tail', 'done')).toBe('done');
  await until('the other one is rolled back', async () => (await preparedOf(sandbox)).length === 0);
  await aNewerOneIsRolledBack();
  expect(await openAlerts(sandbox)).toEqual([]);
});

test('a log that has lost its end raises an alert even if no branch is prepared any more', async () => {
  const app = await apps.start();
  await app.run('kept', async (managers) => {
    for (const name of ALL) await managers[name]!.query(`INSERT INTO effect (gid, n) VALUES ('kept', 1)`);
  });
  expect(await openAlerts(sandbox)).toEqual([]);
  await app.run('lost', async (managers) => {
    for (const name of ALL) await managers[name]!.query(`INSERT INTO effect (gid, n) VALUES ('lost', 1)`);
  });
  // A replica that lagged lacks the decision and the business that was committed with it.
  await until('it is over', async () => (await decisions(sandbox, 'lost'))[0]?.state === 'DONE');
  await sql(sandbox, 'order', `DELETE FROM dtx_xa WHERE gid = 'lost'`);
  await sql(sandbox, 'order', `DELETE FROM effect WHERE gid = 'lost'`);
  await untilAlert('log.tail');
  // One alert, for as long as it lasts.
  await aNewerOneIsRolledBack();
  expect(await openAlerts(sandbox)).toHaveLength(1);
});

test('a running transaction, a purged decision and a witness of another log raise no alert about the log', async () => {
  const app = await apps.start();
  const work = async (managers: Parameters<Parameters<typeof app.run>[1]>[0], gid: string) => {
    for (const name of ALL) await managers[name]!.query('INSERT INTO effect (gid, n) VALUES (?, 1)', [gid]);
  };
  await app.run('purged', (managers) => work(managers, 'purged'));
  const [purged] = await until('it is over', async () => {
    const rows = await decisions(sandbox, 'purged');
    return rows[0]?.state === 'DONE' && rows;
  });
  // The purge deletes the witnesses first.
  for (const name of ['payment', 'inventory'] as const)
    await sql(sandbox, name, 'DELETE FROM dtx_xa_witness WHERE gtrid LIKE ?', [`%${purged!.id}`]);
  await sql(sandbox, 'order', `DELETE FROM dtx_xa WHERE gid = 'purged'`);
  const { gtrid: own } = await begin(sandbox, { ageMs: 60_000 });
  const foreign = `0123456789abcdef${own.slice(16)}`;
  const insert = `INSERT INTO dtx_xa_witness (gtrid, branch, who, created_at) VALUES (?, 'payment', 'branch', UTC_TIMESTAMP(3))`;
  await sql(sandbox, 'payment', insert, [foreign]);
  // Within its deadline: the log may receive its decision at any moment.
  const { gtrid: running } = await begin(sandbox, { ageMs: 0, timeoutMs: 600_000 });
  await sql(sandbox, 'payment', insert, [running]);
  await aNewerOneIsRolledBack();
  expect(await openAlerts(sandbox)).toEqual([]);
  // Control: the same witness in the own log, past its deadline.
  await sql(sandbox, 'payment', insert, [own]);
  expect((await untilAlert('log.tail')).error).toContain(own);
});

test('a log of a version without a sentinel does not count as emptied, and its migration may run again', async () => {
  const undo = [
    'ALTER TABLE dtx_xa DROP INDEX by_age',
    'ALTER TABLE dtx_xa_log DROP COLUMN home, DROP COLUMN deployment, DROP COLUMN whole_since, DROP COLUMN trusted_from',
    `DELETE FROM dtx_xa WHERE id LIKE 'log%'`,
    `DELETE FROM dtx_schema_version WHERE component = 'dtx-xa' AND version = 2`,
  ];
  for (const statement of undo) await sql(sandbox, 'order', statement);
  const { gtrid } = await orphan(sandbox);
  await apps.close(await apps.start());
  await sql(sandbox, 'order', `DELETE FROM dtx_schema_version WHERE component = 'dtx-xa' AND version = 2`);
  const app = await apps.start();
  await until('the orphan is rolled back', async () => (await preparedAt(gtrid)).length === 0);
  expect(await openAlerts(sandbox)).toEqual([]);
  await apps.close(app);

  // Once it has had its sentinel, running the migration again does not make an emptied log a whole one.
  await sql(sandbox, 'order', 'TRUNCATE dtx_xa');
  await sql(sandbox, 'order', `DELETE FROM dtx_schema_version WHERE component = 'dtx-xa' AND version = 2`);
  await apps.start();
  await untilAlert('log.truncated');
});

test('a database that does not answer delays an orphan only if the log may have been set back since it began', async () => {
  const proxy = await TcpProxy.start(sandbox.databases.payment);
  const first = await apps.start({ urls: { payment: proxy.url } });
  try {
    await until('payment is open', () =>
      first.run('opened', async ({ order }) => order!.query('SELECT 1')).then(() => true),
    );
    proxy.cut();
    const younger = await orphan(sandbox, { app: 'inventory', ageMs: 1_000 });
    await until('it is rolled back', async () => (await preparedAt(younger.gtrid)).length === 0);
    const [uptime] = await sql<{ Value: string }>(sandbox, 'order', `SHOW GLOBAL STATUS LIKE 'Uptime'`);
    const older = await orphan(sandbox, { app: 'inventory', ageMs: Number(uptime!.Value) * 1_000 + 10_000 });
    const marker = await orphan(sandbox, { app: 'inventory', ageMs: 1_000 });
    await until('a later one is rolled back', async () => (await preparedAt(marker.gtrid)).length === 0);
    expect(await preparedAt(older.gtrid)).toEqual(['inventory']);
    proxy.heal();
    await until('it is rolled back', async () => (await preparedAt(older.gtrid)).length === 0);
    expect(await openAlerts(sandbox)).toEqual([]);
  } finally {
    await apps.closeAll();
    await proxy.close();
  }
});

test('a branch from the future of the log’s clock raises one alert and is not touched', async () => {
  await apps.start();
  const hour = 3_600_000;
  const { id, gtrid } = await orphan(sandbox, { ageMs: -hour });
  const alert = await untilAlert('log.clock');
  expect(alert.error).toContain(gtrid);
  await aNewerOneIsRolledBack();
  expect(await preparedAt(gtrid)).toEqual(['payment']);
  expect((await decisions(sandbox)).map((row) => row.id)).not.toContain(id);
  expect(await openAlerts(sandbox)).toHaveLength(1);
});
