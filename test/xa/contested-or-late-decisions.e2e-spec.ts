import { createConnection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { decisions, expectNothingLeft, preparedOf, witnesses } from './branches-and-decisions.js';
import { FORMAT_ID, finish } from './branches-by-hand.js';
import { effectsOf, everywhere, LittleXas, libraryOf, type Managers, prepareTables } from './little-xa.js';

const library = libraryOf();
let sandbox: Sandbox;
const apps = new LittleXas(() => ({ sandbox, library, xa: { timeoutMs: 10_000 } }));

beforeAll(async () => {
  sandbox = await freshSandbox('xa_decide');
  await prepareTables(sandbox, library);
});

afterEach(() => apps.closeAll());

afterAll(() => expectNothingLeft(sandbox));

/** The gtrid of the transaction that is at work: its own witness is visible to it. */
async function gtridOf({ payment }: Managers): Promise<string> {
  const [row] = await payment!.query('SELECT gtrid FROM dtx_xa_witness ORDER BY created_at DESC, gtrid DESC LIMIT 1');
  return row.gtrid;
}

/** The row that is committed under the id of a decision before the decision itself. */
async function before(gid: string, gtrid: string, row: { decision: string | null; state: string }): Promise<void> {
  const connection = await createConnection({ uri: sandbox.databases.order });
  await connection.beginTransaction();
  if (row.decision === 'COMMIT') await connection.query('INSERT INTO effect VALUES (?, 1)', [gid]);
  await connection.query(
    `INSERT INTO dtx_xa (id, gid, gtrid, branches, decision, state, created_at, decided_at, next_attempt_at)
     VALUES (?, ?, ?, 'payment,inventory', ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL 1 HOUR)`,
    [gtrid.slice(-36), gid, gtrid, row.decision, row.state],
  );
  await connection.commit();
  await connection.end();
}

/** Runs a transaction that finds this in the log when it decides. */
async function runMeeting(gid: string, row: { decision: string | null; state: string }): Promise<string> {
  const app = await apps.start();
  const run = app.run(gid, async (managers) => {
    const gtrid = await gtridOf(managers);
    // The business in the log's database is committed with the decision that was first.
    const mine = { payment: managers.payment!, inventory: managers.inventory! };
    for (const manager of Object.values(mine)) await manager.query('INSERT INTO effect (gid, n) VALUES (?, 1)', [gid]);
    await before(gid, gtrid, row);
  });
  return run.then(
    () => 'committed',
    (error: Error) => error.name,
  );
}

test('a decision that finds itself, because it was sent again after a lost answer, stands and everything is committed', async () => {
  expect(await runMeeting('met-itself', { decision: 'COMMIT', state: 'COMMITTING' })).toBe('committed');
  expect(await effectsOf(sandbox, 'met-itself')).toHaveLength(3);
  await until('it is over', async () => (await decisions(sandbox, 'met-itself'))[0]?.state === 'DONE');
});

test('a decision that finds a ROLLBACK of the recovery is rolled back everywhere', async () => {
  expect(await runMeeting('met-rollback', { decision: 'ROLLBACK', state: 'ROLLING_BACK' })).toBe('XaUnavailable');
  expect(await effectsOf(sandbox, 'met-rollback')).toEqual([]);
  await sql(sandbox, 'order', `UPDATE dtx_xa SET next_attempt_at = UTC_TIMESTAMP(3) WHERE gid = 'met-rollback'`);
  await until('it is over', async () => (await decisions(sandbox, 'met-rollback'))[0]?.state === 'DONE');
});

test('a decision that finds a row PARKED by the recovery is answered as unknown, and no branch is touched', async () => {
  expect(await runMeeting('given-up', { decision: null, state: 'PARKED' })).toBe('OutcomeUnknown');
  const [row] = await decisions(sandbox, 'given-up');
  const prepared = await until('both are prepared', async () => {
    const found = (await preparedOf(sandbox)).filter(({ gtrid }) => gtrid === row!.gtrid).map(({ app }) => app);
    return found.length === 2 && found;
  });
  expect(prepared).toEqual(['payment', 'inventory']);
  expect(await witnesses(sandbox, row!.gtrid)).toEqual(['', '']);
  for (const app of prepared) await finish(sandbox, app, { gtrid: row!.gtrid, formatId: FORMAT_ID, how: 'ROLLBACK' });
  await sql(sandbox, 'order', `DELETE FROM dtx_xa WHERE gid = 'given-up'`);
});

test('a decision after its deadline, by the clock of the log, is refused and the COMMIT behind it is not read', async () => {
  const app = await apps.start();
  const [{ ms }] = (await sql<{ ms: number }>(
    sandbox,
    'order',
    `SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000 AS ms`,
  )) as [{ ms: number }];
  const decide = async (deadlineMs: number, id: string) => {
    const about = { id, gid: id, gtrid: id, branches: 'payment' };
    const times = { logId: '', id, startMs: deadlineMs - 2_000, deadlineMs };
    const statement = app.context.get(library.Decisions).commitSql(about, times);
    const connection = await createConnection({ uri: sandbox.databases.order, multipleStatements: true });
    await connection.beginTransaction();
    await connection.query(`INSERT INTO effect VALUES (?, 1)`, [id]);
    const ended = await connection.query(`${statement.sql}; COMMIT`, statement.values).then(
      () => 0,
      (error) => error.errno,
    );
    await connection.end();
    return ended;
  };
  expect(await decide(Number(ms) - 1, 'late')).toBe(1_048);
  expect(await sql(sandbox, 'order', `SELECT gid FROM effect WHERE gid = 'late'`)).toEqual([]);
  expect(await decide(Number(ms) + 60_000, 'early')).toBe(0);
  expect(await sql(sandbox, 'order', `SELECT gid FROM effect WHERE gid = 'early'`)).toHaveLength(1);
  await sql(sandbox, 'order', `DELETE FROM dtx_xa WHERE id = 'early'`);
});

test('a transaction after these takes effect in all three databases', async () => {
  const app = await apps.start();
  await app.run('as-ever', everywhere('as-ever'));
  expect(await effectsOf(sandbox, 'as-ever')).toHaveLength(3);
});
