import { createConnection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { decisions, expectNothingLeft, preparedOf, witnesses } from './branches-and-decisions.js';
import { orphan } from './branches-by-hand.js';
import { effectsOf, everywhere, LittleXas, libraryOf, prepareTables } from './little-xa.js';

const library = libraryOf();
/** One transaction at once has room for two second phases. */
const NARROW = { concurrencyMax: 1 };
let sandbox: Sandbox;
const apps = new LittleXas(() => ({ sandbox, library }));

beforeAll(async () => {
  sandbox = await freshSandbox('xa_room');
  await prepareTables(sandbox, library);
  await apps.close(await apps.start()); // makes the log, so that there is an id for leftovers to carry
});

afterEach(() => apps.closeAll());

afterAll(() => expectNothingLeft(sandbox));

const stateOf = async (gid: string) => (await decisions(sandbox, gid))[0]?.state;

const untilAllAreOver = () =>
  until('all are over', async () => (await decisions(sandbox)).every(({ state }) => state === 'DONE'));

/** Writes down that it is decided to commit branches at the payment database, as processes do that die right then. */
async function decide(gtrids: ReadonlyMap<string, string>): Promise<void> {
  const rows = [...gtrids].map(([id, gtrid]) => [id, id, gtrid, 'payment', 'COMMIT', 'COMMITTING']);
  await sql(
    sandbox,
    'order',
    `INSERT INTO dtx_xa (id, gid, gtrid, branches, decision, state, created_at, next_attempt_at)
     VALUES ${rows.map(() => '(?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))').join()}`,
    rows,
  );
}

test('forty decided transactions of dead processes are carried out at once, on the few connections of the recovery', async () => {
  // One that was not reached would be tried again when its lease ends.
  const app = await apps.start({ core: { leaseMs: 20_000 } });
  await app.run('all-is-open', everywhere('all-is-open'));
  const left = await Promise.all(Array.from({ length: 40 }, () => orphan(sandbox, { ageMs: -60_000 })));
  const since = performance.now();
  await decide(new Map(left.map(({ id, gtrid }) => [id, gtrid])));
  await untilAllAreOver();
  expect(performance.now() - since).toBeLessThan(12_000);
  expect(await preparedOf(sandbox)).toEqual([]);
  for (const { gtrid } of left) expect((await witnesses(sandbox, gtrid))[0]).toBe('branch');
});

test('branches are committed before their caller is answered, and orphans are ended, while hooks hang', async () => {
  const app = await apps.start({ xa: NARROW });
  const told: string[] = [];
  let isThere = (): void => {};
  const receiver = new Promise<void>((resolve) => {
    isThere = resolve;
  });
  app.context.get(library.Xa).beforeDone(async (gid) => {
    await receiver;
    told.push(gid);
  });
  const gids = Array.from({ length: 6 }, (_, n) => `told-late-${n}`);
  for (const gid of gids) {
    await app.run(gid, everywhere(gid));
    expect(await preparedOf(sandbox)).toEqual([]);
    expect(await effectsOf(sandbox, gid)).toHaveLength(3);
  }
  const { id } = await orphan(sandbox);
  await until('the orphan is rolled back', async () => (await stateOf(id)) === 'DONE', { withinMs: 10_000 });
  expect(told).toEqual([]);
  isThere();
  await untilAllAreOver();
  expect([...new Set(told)].sort()).toEqual(gids);
  for (const gid of gids) expect(await decisions(sandbox, gid)).toMatchObject([{ attempts: 0 }]);
});

test('branches are committed before their caller is answered even if second phases of others take all connections', async () => {
  const holder = await createConnection({ uri: sandbox.databases.payment });
  await holder.beginTransaction();
  const held = Array.from({ length: 6 }, (_, n) => `held-by-a-session-${n}`);
  for (const gid of held)
    await holder.query(`INSERT INTO dtx_xa_witness VALUES (?, 'payment', 'branch', UTC_TIMESTAMP(3))`, [gid]);
  await decide(new Map(held.map((gid) => [gid, gid])));
  const app = await apps.start({ xa: { ...NARROW, attemptsMax: 1_000 } });
  const attempts = async () => (await decisions(sandbox)).filter((row) => row.attempts > 0).length;
  await until('the room is taken', async () => (await attempts()) > 0);
  for (let n = 0; n < 8; n++) {
    await app.run(`no-room-${n}`, everywhere(`no-room-${n}`));
    expect(await preparedOf(sandbox)).toEqual([]);
    expect(await effectsOf(sandbox, `no-room-${n}`)).toHaveLength(3);
  }
  await holder.commit();
  await holder.end();
  await untilAllAreOver();
});
