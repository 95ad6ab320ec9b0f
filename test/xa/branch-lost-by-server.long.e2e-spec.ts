import { createConnection } from 'mysql2';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createSandbox } from '../../tools/src/sandbox/sandbox.js';
import { control, down, up } from '../../tools/src/servers/index.js';
import { type Sandbox, servers, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { decisions, expectNothingLeft, logIdOf, openAlerts, recover } from './branches-and-decisions.js';
import { begin, decideToCommit, FORMAT_ID, xidOf } from './branches-by-hand.js';
import { LittleXas, libraryOf, prepareTables } from './little-xa.js';

/** Own servers, because one of them is restarted. */
const SET = 'xaunlisted';
const library = libraryOf();
const payment = control(SET).payment;
let sandbox: Sandbox;
const xa = { timeoutMs: 500, attemptsMax: 7, backoff: { firstMs: 500, factor: 1, capMs: 500 } };
const apps = new LittleXas(() => ({ sandbox, library, xa }));

beforeAll(async () => {
  const { databases } = await up(SET, { say: () => {}, only: ['databases'] });
  sandbox = await createSandbox({ ...servers(), databases }, SET);
  await prepareTables(sandbox, library);
}, 300_000);

afterAll(async () => {
  await apps.closeAll();
  await down(SET, { say: () => {}, wipe: true });
}, 120_000);

beforeEach(async (context) => {
  context.skip(!payment.supported, 'the servers were given: not ours to restart');
  const [row] = await sql<{ version: string }>(sandbox, 'payment', 'SELECT VERSION() AS version');
  context.skip(!/mariadb/i.test(row!.version), 'only MariaDB loses a branch so');
});

/** Makes MariaDB lose a prepared branch: it forgets the branch with its session, and keeps the locks. */
async function losePrepared(gtrid: string): Promise<void> {
  const connection = createConnection({ uri: sandbox.databases.payment, multipleStatements: true });
  const xid = xidOf(gtrid, 'payment', FORMAT_ID);
  const work = `XA START ${xid}; INSERT INTO dtx_xa_witness VALUES (?, 'payment', 'branch', UTC_TIMESTAMP(3))`;
  await connection.promise().query(`${work}; XA END ${xid}; XA PREPARE ${xid}`, [gtrid]);
  await new Promise<void>((done, fail) => connection.reset((error) => (error ? fail(error) : done())));
  await sql(sandbox, 'payment', `XA COMMIT ${xid}`).catch(() => {});
  connection.destroy();
}

test('a branch that its server has lost raises one alert with the remedy, and is committed after it', async () => {
  const app = await apps.start();
  await until('the log is open', () => logIdOf(sandbox));
  const { id, gtrid } = await begin(sandbox);
  await losePrepared(gtrid);
  const isListed = async () => (await recover(sandbox, 'payment')).some((one) => one.gtrid === gtrid);
  expect(await isListed()).toBe(false);
  await decideToCommit(sandbox, { id, gtrid, branches: 'payment' });
  const rowOf = async () => (await decisions(sandbox, id))[0]!;
  await until('it is parked', async () => (await rowOf()).state === 'PARKED', { withinMs: 90_000 });
  expect(await openAlerts(sandbox)).toEqual([
    { subject: id, error: expect.stringMatching(/restart the database server of payment cleanly, then retry/) },
  ]);

  await payment.stop();
  await payment.start();
  expect(await isListed()).toBe(true);
  const { sources } = app.context.get(library.Operations);
  expect(await Promise.all(sources.map((source) => source.retry(id, {})))).toContain('done');
  await until('it is committed', async () => (await rowOf()).state === 'DONE');
  const witnesses = await sql(sandbox, 'payment', 'SELECT who FROM dtx_xa_witness WHERE gtrid = ?', [gtrid]);
  expect(witnesses).toEqual([{ who: 'branch' }]);
  await expectNothingLeft(sandbox);
  await apps.close(app);
});
