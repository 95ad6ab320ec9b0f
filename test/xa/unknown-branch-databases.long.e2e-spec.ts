import { createConnection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import {
  expectNothingLeft,
  leftOf,
  openAlerts,
  preparedOf,
  rowOf,
  untilDone,
  witnesses,
} from './branches-and-decisions.js';
import { begin, decideToCommit, FORMAT_ID, prepare, prepareIn } from './branches-by-hand.js';
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
  sandbox = await freshSandbox('xa_unknown_databases', { audited: false });
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

test('an orphan is rolled back also in a database that is unknown to the deciding instance', async () => {
  const { id, gtrid } = await inAll();
  const older = await apps.start({ branches: before() });
  await untilDone(sandbox, id);
  expect(await leftOf(sandbox, gtrid)).toBe(1);
  const newer = await apps.start({ branches: after() });
  await until('nothing of it is prepared', async () => (await leftOf(sandbox, gtrid)) === 0);
  await untilDone(sandbox, id);
  expect(await witnessAtLoyalty(gtrid)).toEqual([{ branch: 'loyalty', who: 'recovery' }]);
  const [row] = await sql<{ branches: string }>(sandbox, 'order', 'SELECT branches FROM dtx_xa WHERE id = ?', [id]);
  expect(row!.branches.split(',').sort()).toEqual(['inventory', 'loyalty', 'payment']);
  expect((await rowOf(sandbox, id)).attempts).toBeLessThanOrEqual(2);
  expect(await openAlerts(sandbox)).toEqual([]);
  await apps.close(older);
  await apps.close(newer);
});

test('a decided branch in an unknown database is left to an instance that knows it, and raises an alert if none does', async () => {
  const first = await inAll(NOT_OVERDUE);
  const older = await apps.start({ branches: before(), xa: { unknownBranchMs: 8_000 } });
  await decideToCommit(sandbox, { ...first, branches: 'payment,inventory,loyalty' });
  await until('the branch in the known database is committed', async () => (await leftOf(sandbox, first.gtrid)) === 1);
  expect(await witnesses(sandbox, first.gtrid)).toEqual(['branch', 'branch']);
  expect(await openAlerts(sandbox)).toEqual([]);
  const [alert] = await until('the alert is open after a while', async () => {
    const open = await openAlerts(sandbox);
    return open.length > 0 && open;
  });
  expect(alert).toMatchObject({ subject: first.id, error: expect.stringMatching(/loyalty: no database of this name/) });
  expect(await rowOf(sandbox, first.id)).toMatchObject({ state: 'COMMITTING', attempts: 0 });

  await apps.start({ branches: after() });
  await untilDone(sandbox, first.id);
  expect(await witnessAtLoyalty(first.gtrid)).toEqual([{ branch: 'loyalty', who: 'branch' }]);
  await until('its alert is closed', async () => (await openAlerts(sandbox)).length === 0);

  const second = await inAll(NOT_OVERDUE);
  await decideToCommit(sandbox, { ...second, branches: 'payment,inventory,loyalty' });
  await untilDone(sandbox, second.id);
  expect(await leftOf(sandbox, second.gtrid)).toBe(0);
  expect(await openAlerts(sandbox)).toEqual([]);
  await apps.close(older);
});

test('a branch is found under the name that it was prepared by, even if its database has another name now', async () => {
  const [decided, undecided] = [await inAll(), await inAll()];
  await decideToCommit(sandbox, { ...decided, branches: 'payment,inventory,loyalty' });
  await apps.start({ branches: { ...before(), points: loyalty } });
  for (const { id } of [decided, undecided]) await untilDone(sandbox, id);
  await until('nothing is prepared', async () => (await preparedOf(sandbox)).length === 0);
  expect(await witnessAtLoyalty(decided.gtrid)).toEqual([{ branch: 'loyalty', who: 'branch' }]);
  const claims = await witnessAtLoyalty(undecided.gtrid);
  expect(claims).toContainEqual({ branch: 'loyalty', who: 'recovery' });
});
