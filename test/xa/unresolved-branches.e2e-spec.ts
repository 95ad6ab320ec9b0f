import { createConnection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { until } from '../fixtures/until.js';
import {
  begin,
  decideToCommit,
  decisions,
  expectNothingLeft,
  FORMAT_ID,
  finish,
  openAlerts,
  prepare,
  preparedOf,
  prepareIn,
  witnesses,
  xidOf,
} from './branches-and-decisions.js';
import { LittleXas, libraryOf, prepareTables, prepareWitnesses } from './little-xa.js';

const library = libraryOf();
let sandbox: Sandbox;
let loyalty = '';
const apps = new LittleXas(() => ({ sandbox, library }));
/** The databases as a version of the program knows them. */
const before = () => ({ payment: sandbox.databases.payment, inventory: sandbox.databases.inventory });
const after = () => ({ ...before(), loyalty });

beforeAll(async () => {
  // The audit knows the databases of the three apps only.
  sandbox = await freshSandbox('xa_names', { audited: false });
  await prepareTables(sandbox, library);
  // A fourth database, on a server that has another one already: that server lists the branches of both.
  const name = `${new URL(sandbox.databases.payment).pathname.slice(1)}_loyalty`;
  await sql(sandbox, 'payment', `DROP DATABASE IF EXISTS ${name}`);
  await sql(sandbox, 'payment', `CREATE DATABASE ${name} CHARACTER SET utf8mb4`);
  loyalty = sandbox.databases.payment.replace(/[^/]*$/, name);
  await prepareWitnesses(loyalty, library);
  await apps.close(await apps.start()); // makes the log
});

afterEach(() => apps.closeAll());

afterAll(async () => {
  await expectNothingLeft(sandbox);
  await sql(sandbox, 'payment', `DROP DATABASE ${new URL(loyalty).pathname.slice(1)}`);
});

const NOT_OVERDUE = -30_000;

/** A transaction that is prepared in all three databases, by default past its deadline. */
async function inAll(ageMs = 60_000): Promise<{ id: string; gtrid: string }> {
  const begun = await begin(sandbox, { ageMs });
  for (const app of ['payment', 'inventory'] as const)
    await prepare(sandbox, app, { gtrid: begun.gtrid, formatId: FORMAT_ID });
  await prepareIn(loyalty, 'loyalty', { gtrid: begun.gtrid, formatId: FORMAT_ID });
  return begun;
}

async function asked(url: string, query: string, values: unknown[]): Promise<Array<Record<string, unknown>>> {
  const connection = await createConnection({ uri: url });
  const [rows] = await connection.query(query, values);
  await connection.end();
  return rows as Array<Record<string, unknown>>;
}

const witnessAtLoyalty = (gtrid: string) =>
  asked(loyalty, 'SELECT branch, who FROM dtx_xa_witness WHERE gtrid = ?', [gtrid]);
const left = async (gtrid: string) => (await preparedOf(sandbox)).filter((one) => one.gtrid === gtrid).length;
const rowOf = async (id: string) => (await decisions(sandbox)).find((row) => row.id === id)!;
const untilDone = (id: string) => until(`${id} is over`, async () => (await rowOf(id))?.state === 'DONE');

test('an orphan is rolled back also in a database that is unknown to the deciding instance', async () => {
  const { id, gtrid } = await inAll();
  const older = await apps.start({ branches: before() });
  await untilDone(id);
  expect(await left(gtrid)).toBe(1);
  const newer = await apps.start({ branches: after() });
  await until('nothing of it is prepared', async () => (await left(gtrid)) === 0);
  await untilDone(id);
  expect(await witnessAtLoyalty(gtrid)).toEqual([{ branch: 'loyalty', who: 'recovery' }]);
  const [row] = await sql<{ branches: string }>(sandbox, 'order', 'SELECT branches FROM dtx_xa WHERE id = ?', [id]);
  expect(row!.branches.split(',').sort()).toEqual(['inventory', 'loyalty', 'payment']);
  expect((await rowOf(id)).attempts).toBeLessThanOrEqual(2);
  expect(await openAlerts(sandbox)).toEqual([]);
  await apps.close(older);
  await apps.close(newer);
});

test('a decided branch in an unknown database is left to an instance that knows it, and raises an alert if none does', async () => {
  const first = await inAll(NOT_OVERDUE);
  const older = await apps.start({ branches: before(), xa: { unknownBranchMs: 8_000 } });
  await decideToCommit(sandbox, { ...first, branches: 'payment,inventory,loyalty' });
  await until('the branch in the known database is committed', async () => (await left(first.gtrid)) === 1);
  expect(await witnesses(sandbox, first.gtrid)).toEqual(['branch', 'branch']);
  expect(await openAlerts(sandbox)).toEqual([]);
  const [alert] = await until('the alert is open after a while', async () => {
    const open = await openAlerts(sandbox);
    return open.length > 0 && open;
  });
  expect(alert).toMatchObject({ subject: first.id, error: expect.stringMatching(/loyalty: no database of this name/) });
  expect(await rowOf(first.id)).toMatchObject({ state: 'COMMITTING', attempts: 0 });

  await apps.start({ branches: after() });
  await untilDone(first.id);
  expect(await witnessAtLoyalty(first.gtrid)).toEqual([{ branch: 'loyalty', who: 'branch' }]);
  await until('its alert is closed', async () => (await openAlerts(sandbox)).length === 0);

  const second = await inAll(NOT_OVERDUE);
  await decideToCommit(sandbox, { ...second, branches: 'payment,inventory,loyalty' });
  await untilDone(second.id);
  expect(await left(second.gtrid)).toBe(0);
  expect(await openAlerts(sandbox)).toEqual([]);
  await apps.close(older);
});

test('a branch is found under the name that it was prepared by, even if its database has another name now', async () => {
  const [decided, undecided] = [await inAll(), await inAll()];
  await decideToCommit(sandbox, { ...decided, branches: 'payment,inventory,loyalty' });
  await apps.start({ branches: { ...before(), points: loyalty } });
  for (const { id } of [decided, undecided]) await untilDone(id);
  await until('nothing is prepared', async () => (await preparedOf(sandbox)).length === 0);
  expect(await witnessAtLoyalty(decided.gtrid)).toEqual([{ branch: 'loyalty', who: 'branch' }]);
  const claims = await witnessAtLoyalty(undecided.gtrid);
  expect(claims).toContainEqual({ branch: 'loyalty', who: 'recovery' });
});

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
    expect(await rowOf(id)).toMatchObject({ state: 'COMMITTING', attempts: 0 });
    proxy.heal();
    await until('it is parked', async () => (await rowOf(id)).state === 'PARKED');
    expect(await left(gtrid)).toBe(0);
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
  const error = await until('it was looked at', async () => (await rowOf(id)).last_error);
  expect(error).toMatch(/a session still holds the branch/);
  // The sessions of this app would have been ended after 7 s: only from then on it counts.
  const since = performance.now();
  await until('it counts', async () => (await rowOf(id)).attempts > 0);
  expect(performance.now() - since).toBeGreaterThan(4_000);
  await owner.query(`XA END ${xid}; XA PREPARE ${xid}; XA COMMIT ${xid}`);
  await owner.end();
  await untilDone(id);
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
  await until('the other one is rolled back', async () => (await left(other.gtrid)) === 0, { withinMs: 9_000 });
  for (const { gtrid } of hanging) expect(await left(gtrid)).toBe(1);
  await holder.commit();
  await holder.end();
  await Promise.all(hanging.map(({ id }) => untilDone(id)));
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
    await until('it is ended', async () => (await left(gtrid)) === 0);
    await untilDone(id);
  }
  await comesBack();
  await until('it is parked', async () => (await rowOf(id)).state === 'PARKED');
  expect(await openAlerts(sandbox)).toMatchObject([
    { subject: id, error: expect.stringMatching(/prepared again each time/) },
  ]);
  expect(await left(gtrid)).toBe(1);
  await finish(sandbox, 'payment', { gtrid, formatId: FORMAT_ID, how: 'ROLLBACK' });
  expect(await app.resolve(id, 'done')).toBe('done');
});
