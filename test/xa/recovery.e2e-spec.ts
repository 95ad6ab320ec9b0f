import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { decisions, expectNothingLeft, preparedOf, recover, witnesses } from './branches-and-decisions.js';
import { FORMAT_ID, finish, orphan, prepare } from './branches-by-hand.js';
import { everywhere, LittleXa, LittleXas, libraryOf, prepareTables } from './little-xa.js';

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
