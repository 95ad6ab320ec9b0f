import { createConnection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import {
  decisions,
  expectNothingLeft,
  FORMAT_ID,
  finish,
  orphan,
  prepare,
  preparedOf,
  recover,
  witnesses,
} from './branches-and-decisions.js';
import { ALL, effectsOf, everywhere, LittleXa, LittleXas, libraryOf, prepareTables } from './little-xa.js';

const library = libraryOf();
const HORIZON_MS = 60_000;
let sandbox: Sandbox;
const apps = new LittleXas(() => ({ sandbox, library }));

beforeAll(async () => {
  sandbox = await freshSandbox('xa_recovery');
  await prepareTables(sandbox, library);
});

afterEach(() => apps.closeAll());

afterAll(() => expectNothingLeft(sandbox));

const decisionOn = async (id: string) => (await decisions(sandbox)).find((row) => row.id === id);
const untilDone = (id: string) => until(`${id} is over`, async () => (await decisionOn(id))?.state === 'DONE');

/** A person resolves a parked transaction. */
async function endByHand({ id, gtrid }: { id: string; gtrid: string }): Promise<void> {
  await finish(sandbox, 'payment', { gtrid, formatId: FORMAT_ID, how: 'ROLLBACK' });
  await sql(sandbox, 'order', `UPDATE dtx_xa SET state = 'DONE', next_attempt_at = NULL WHERE id = ?`, [id]);
  await sql(
    sandbox,
    'order',
    'UPDATE dtx_alert SET closed_at = UTC_TIMESTAMP(3), open_key = NULL WHERE subject_id = ?',
    [id],
  );
}

test('two instances that find ten orphans at once roll each back and claim both its witnesses', async () => {
  // It creates the log, whose id the orphans carry. An instance that scans could find an unfinished orphan,
  // which its own session still holds, and count that as an attempt.
  const first = await LittleXa.start({ sandbox, library });
  await first.close();
  const orphans = await Promise.all(
    Array.from({ length: 10 }, (_, n) => orphan(sandbox, { app: n % 2 === 0 ? 'payment' : 'inventory' })),
  );
  await Promise.all([apps.start(), apps.start()]);
  await Promise.all(orphans.map(({ id }) => untilDone(id)));
  for (const { id, gtrid } of orphans) {
    expect(await decisionOn(id)).toMatchObject({ decision: 'ROLLBACK', attempts: 0 });
    expect(await witnesses(sandbox, gtrid)).toEqual(['recovery', 'recovery']);
  }
  expect(await preparedOf(sandbox)).toEqual([]);
});

test('branches of other deployments and programs are never touched while an orphan beside them is rolled back', async () => {
  await apps.start();
  const others = { gtrid: '0123456789abcdef.000064.019a0000-0000-7000-8000-000000000000', formatId: FORMAT_ID };
  const strangers = { gtrid: `stranger of ${sandbox.name}`, formatId: 7 };
  for (const one of [others, strangers]) await prepare(sandbox, 'payment', one);
  try {
    const { id } = await orphan(sandbox);
    await untilDone(id);
    // Two more looks at least: an orphan that came later has gone, too.
    await untilDone((await orphan(sandbox, { app: 'inventory' })).id);
    const left = (await recover(sandbox, 'payment')).map(({ gtrid }) => gtrid);
    expect(left).toEqual(expect.arrayContaining([others.gtrid, strangers.gtrid]));
  } finally {
    for (const one of [others, strangers]) await finish(sandbox, 'payment', { ...one, how: 'ROLLBACK' });
  }
});

test('an orphan before its deadline is left to its manager', async () => {
  await apps.start();
  const { id, gtrid } = await orphan(sandbox, { ageMs: -10_000 });
  const older = await orphan(sandbox, { app: 'inventory' });
  await untilDone(older.id);
  expect(await decisionOn(id)).toBeUndefined();
  expect((await preparedOf(sandbox)).map((one) => one.gtrid)).toEqual([gtrid]);
  await untilDone(id);
});

test('an orphan older than the retention of the log is PARKED with one alert and never decided', async () => {
  const app = await apps.start({ xa: { retentionMs: HORIZON_MS } });
  const { id, gtrid } = await orphan(sandbox, { ageMs: HORIZON_MS + 5_000 });
  await until('it is parked', async () => (await decisionOn(id))?.state === 'PARKED');
  await untilDone((await orphan(sandbox, { app: 'inventory', ageMs: 10_000 })).id);
  expect((await preparedOf(sandbox)).map((one) => one.gtrid)).toEqual([gtrid]);
  expect(await sql(sandbox, 'order', 'SELECT scheme FROM dtx_alert WHERE subject_id = ?', [id])).toEqual([
    { scheme: 'xa' },
  ]);
  // No other call that depends on it may pass meanwhile.
  await app.run('beside-a-parked-one', everywhere('beside-a-parked-one'));
  await endByHand({ id, gtrid });
});

test('an orphan that cannot be parked now delays no other orphan of its scan', async () => {
  const old = await Promise.all([1, 2, 3].map(() => orphan(sandbox, { ageMs: HORIZON_MS + 5_000 })));
  const [listedFirst] = await preparedOf(sandbox);
  const refused = old.find(({ gtrid }) => gtrid === listedFirst!.gtrid)!;
  await sql(
    sandbox,
    'order',
    `CREATE TRIGGER test_refuse BEFORE INSERT ON dtx_xa FOR EACH ROW
     IF NEW.id = '${refused.id}' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused by the test'; END IF`,
  );
  await apps.start({ xa: { retentionMs: HORIZON_MS } });
  const untilParked = ({ id }: { id: string }) =>
    until('it is parked', async () => (await decisionOn(id))?.state === 'PARKED');
  await Promise.all(old.filter((one) => one !== refused).map(untilParked));
  expect(await decisionOn(refused.id)).toBeUndefined();
  await sql(sandbox, 'order', 'DROP TRIGGER test_refuse');
  await untilParked(refused);
  for (const one of old) await endByHand(one);
});

test('a branch of a finished decision that returns with an older state of its server is ended again as decided', async () => {
  await apps.start();
  const { id, gtrid } = await orphan(sandbox);
  await untilDone(id);
  await sql(sandbox, 'payment', 'DELETE FROM dtx_xa_witness WHERE gtrid = ?', [gtrid]);
  await prepare(sandbox, 'payment', { gtrid, formatId: FORMAT_ID });
  await until('it is rolled back again', async () => (await preparedOf(sandbox)).length === 0);
  await untilDone(id);
  expect(await witnesses(sandbox, gtrid)).toEqual(['recovery', 'recovery']);
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

test('a database at another schema version than the program knows is not written to', async () => {
  const app = await apps.start({ schema: { business: 2 }, xa: { acquireTimeoutMs: 200 } });
  await until('it says why', () =>
    app.run('wrong-schema', everywhere('wrong-schema')).then(
      () => Promise.reject(new Error('it was let through')),
      (error: Error) => /has business at version none, not 2/.test(error.message),
    ),
  );
  expect(await effectsOf(sandbox, 'wrong-schema')).toEqual([]);
  for (const name of ['payment', 'inventory'] as const)
    await sql(sandbox, name, `INSERT INTO dtx_schema_version VALUES ('business', 2, 'by hand', UTC_TIMESTAMP(3))`);
  await until('it is opened', () => app.run('right-schema', everywhere('right-schema')).then(() => true));
  await sql(sandbox, 'payment', `INSERT INTO dtx_schema_version VALUES ('business', 3, 'by hand', UTC_TIMESTAMP(3))`);
  await until('it is noticed', () =>
    app.run('newer-schema', everywhere('newer-schema')).then(
      () =>
        Promise.all(ALL.map((name) => sql(sandbox, name, `DELETE FROM effect WHERE gid = 'newer-schema'`))).then(
          () => false,
        ),
      (error: Error) => /version 3, not 2/.test(error.message),
    ),
  );
});

test('the purge deletes finished decisions and their witnesses after the retention, and nothing else', async () => {
  const app = await apps.start({ xa: { retentionMs: HORIZON_MS }, core: { purgeIntervalMs: 100 } });
  await app.run('young', everywhere('young'));
  const old = await orphan(sandbox, { ageMs: HORIZON_MS - 10_000 });
  // Then its decision was written. It may be purged before a test has seen it DONE.
  await until('the old one is rolled back', async () => (await preparedOf(sandbox)).length === 0);
  await until('the old one has gone, with its witnesses', async () => {
    const left = await Promise.all([decisionOn(old.id), witnesses(sandbox, old.gtrid)]);
    return left[0] === undefined && left[1].join('') === '';
  });
  const [young] = await decisions(sandbox, 'young');
  expect(young).toMatchObject({ state: 'DONE' });
  expect(await witnesses(sandbox, young!.gtrid)).toEqual(['branch', 'branch']);
});
