import { createConnection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';
import { expectNothingLeft, leftOf, openAlerts, rowOf, untilDone, witnesses } from './branches-and-decisions.js';
import { begin, decideToCommit, FORMAT_ID, finish, prepare, xidOf } from './branches-by-hand.js';
import { LittleXas, libraryOf, prepareTables } from './little-xa.js';

const library = libraryOf();
let sandbox: Sandbox;
const apps = new LittleXas(() => ({ sandbox, library }));

beforeAll(async () => {
  sandbox = await freshSandbox('xa_unresolved', { audited: false });
  await prepareTables(sandbox, library);
  await apps.close(await apps.start()); // makes the log
});

afterEach(() => apps.closeAll());

afterAll(() => expectNothingLeft(sandbox));

test('a heuristically resolved branch raises an alert, and the other branches are committed', async () => {
  const proxy = await TcpProxy.start(sandbox.databases.inventory);
  try {
    const app = await apps.start({ urls: { inventory: proxy.url } });
    await until('all are open', () =>
      app.run('opened', async ({ order }) => order!.query('SELECT 1')).then(() => true),
    );
    proxy.cut();
    const { id, gtrid } = await begin(sandbox, { ageMs: -60_000 });
    for (const name of ['payment', 'inventory'] as const) await prepare(sandbox, name, { gtrid, formatId: FORMAT_ID });
    await finish(sandbox, 'payment', { gtrid, formatId: FORMAT_ID, how: 'ROLLBACK' });
    await decideToCommit(sandbox, { id, gtrid });
    const [alert] = await until('the alert is open', async () => {
      const open = await openAlerts(sandbox);
      return open.length > 0 && open;
    });
    expect(alert).toMatchObject({ subject: id, error: expect.stringMatching(/payment: .*heuristic/) });
    expect(await rowOf(sandbox, id)).toMatchObject({ state: 'COMMITTING', attempts: 0 });
    proxy.heal();
    await until('it is parked', async () => (await rowOf(sandbox, id)).state === 'PARKED');
    expect(await leftOf(sandbox, gtrid)).toBe(0);
    expect(await witnesses(sandbox, gtrid)).toEqual(['', 'branch']);
    expect(await openAlerts(sandbox)).toHaveLength(1);
    expect(await app.resolve(id, 'done')).toBe('done');
    expect(await openAlerts(sandbox)).toEqual([]);
  } finally {
    await apps.closeAll();
    await proxy.close();
  }
});

test('a branch that a living session holds costs no attempt until the server would have ended the session', async () => {
  const xa = { timeoutMs: 2_000, attemptsMax: 40, backoff: { firstMs: 100, factor: 1, capMs: 100 } };
  const app = await apps.start({ xa });
  const { id, gtrid } = await begin(sandbox, { ageMs: -60_000 });
  const owner = await createConnection({ uri: sandbox.databases.payment, multipleStatements: true });
  const xid = xidOf(gtrid, 'payment', FORMAT_ID);
  await owner.query(`XA START ${xid}; INSERT INTO dtx_xa_witness VALUES (?, 'payment', 'branch', UTC_TIMESTAMP(3))`, [
    gtrid,
  ]);
  await decideToCommit(sandbox, { id, gtrid, branches: 'payment' });
  const error = await until('it was looked at', async () => (await rowOf(sandbox, id)).last_error);
  expect(error).toMatch(/a session still holds the branch/);
  // The sessions of this app would have been ended after 7 s: only from then on it counts.
  const since = performance.now();
  await until('it counts', async () => (await rowOf(sandbox, id)).attempts > 0);
  expect(performance.now() - since).toBeGreaterThan(4_000);
  await owner.query(`XA END ${xid}; XA PREPARE ${xid}; XA COMMIT ${xid}`);
  await owner.end();
  await untilDone(sandbox, id);
  await apps.close(app);
});

test('a decision that hangs in its commit delays no other orphan', async () => {
  const hanging = await Promise.all(Array.from({ length: 12 }, () => begin(sandbox)));
  const holder = await createConnection({ uri: sandbox.databases.order });
  await holder.beginTransaction();
  for (const { id, gtrid } of hanging) {
    await prepare(sandbox, 'payment', { gtrid, formatId: FORMAT_ID });
    await holder.query(
      `INSERT INTO dtx_xa (id, gid, gtrid, branches, decision, state, created_at, decided_at, next_attempt_at)
       VALUES (?, ?, ?, 'payment', 'COMMIT', 'COMMITTING', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
      [id, id, gtrid],
    );
  }
  const other = await begin(sandbox);
  await prepare(sandbox, 'payment', { gtrid: other.gtrid, formatId: FORMAT_ID });
  await apps.start({ core: { lockWaitSeconds: 3 } });
  // Each would wait for three seconds, one after the other.
  await until('the other one is rolled back', async () => (await leftOf(sandbox, other.gtrid)) === 0, {
    withinMs: 9_000,
  });
  for (const { gtrid } of hanging) expect(await leftOf(sandbox, gtrid)).toBe(1);
  await holder.commit();
  await holder.end();
  await Promise.all(hanging.map(({ id }) => untilDone(sandbox, id)));
  for (const { gtrid } of hanging) expect((await witnesses(sandbox, gtrid))[0]).toBe('branch');
});

test('a branch that returns each time it was ended is parked with one alert', async () => {
  const app = await apps.start({ xa: { attemptsMax: 2, backoff: { firstMs: 5_000, factor: 1, capMs: 5_000 } } });
  const { id, gtrid } = await begin(sandbox);
  const comesBack = async () => {
    await sql(sandbox, 'payment', 'DELETE FROM dtx_xa_witness WHERE gtrid = ?', [gtrid]);
    await prepare(sandbox, 'payment', { gtrid, formatId: FORMAT_ID });
  };
  for (let times = 1; times <= 3; times++) {
    await comesBack();
    await until('it is ended', async () => (await leftOf(sandbox, gtrid)) === 0);
    await untilDone(sandbox, id);
  }
  await comesBack();
  await until('it is parked', async () => (await rowOf(sandbox, id)).state === 'PARKED');
  expect(await openAlerts(sandbox)).toMatchObject([
    { subject: id, error: expect.stringMatching(/prepared again each time/) },
  ]);
  expect(await leftOf(sandbox, gtrid)).toBe(1);
  await finish(sandbox, 'payment', { gtrid, formatId: FORMAT_ID, how: 'ROLLBACK' });
  expect(await app.resolve(id, 'done')).toBe('done');
});
