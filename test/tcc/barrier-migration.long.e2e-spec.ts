/** The first migration that alters a table. It may run twice, end at any statement, and run beside itself and the version before. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import fc from 'fast-check';
import { createConnection } from 'mysql2/promise';
import { DataSource } from 'typeorm';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Migration } from '../../libs/dtx/src/index.js';
import { ROOT } from '../fixtures/app-process.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { spawnForFile } from '../fixtures/spawned-processes.js';
import { until } from '../fixtures/until.js';
import { arrivals, type Caller, play, recorders } from './barrier-model.js';
import { versionBefore } from './build-of-version-before.js';
import { EFFECTS } from './effect-table.js';
import { type Library, LittleApp, libraryOf } from './little-app.js';

const COMPONENT = 'dtx-tcc';
const MANY_ROWS = 120_000;

const file = (name: string) => join(ROOT, 'libs', 'dtx', 'dist', name);
const load = createRequire(import.meta.url);
const { migrate } = load(
  file('core/database/migrate.js'),
) as typeof import('../../libs/dtx/src/core/database/migrate.js');
const { tccMigrations } = load(file('tcc/tcc-tables.js')) as typeof import('../../libs/dtx/src/tcc/tcc-tables.js');
const [first, second] = tccMigrations as [Migration, Migration];

let sandbox: Sandbox;
let libraries: { old: Library; new: Library };
const opened: Array<{ close(): Promise<unknown> }> = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_migration', { audited: false });
  libraries = { old: versionBefore('tcc-migration'), new: libraryOf() };
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});
afterAll(() => sql(sandbox, 'payment', 'DROP TABLE IF EXISTS dtx_tcc, dtx_tcc_branch, dtx_tcc_barrier'));

/** A database with the tables as the version before has them, and a row of it. */
async function oldDatabase(): Promise<DataSource> {
  const source = await new DataSource({ type: 'mysql', url: sandbox.databases.payment }).initialize();
  opened.push({ close: () => source.destroy() });
  await source.query('DROP TABLE IF EXISTS dtx_tcc, dtx_tcc_branch, dtx_tcc_barrier, dtx_schema_version');
  await migrate(source, COMPONENT, [first]);
  await source.query(INSERT_OLD, ['before', 'try']);
  return source;
}

const INSERT_OLD = `INSERT INTO dtx_tcc_barrier (gid, branch, phase, op, participant, created_at)
  VALUES (?, 0, ?, 'try', 'payment.tried', UTC_TIMESTAMP(3))`;

/** The schema of the tables, and the rows that they held before. */
async function expectMigrated(source: DataSource): Promise<void> {
  const [barrier] = await source.query('SHOW CREATE TABLE dtx_tcc_barrier');
  expect(barrier['Create Table']).toContain('PRIMARY KEY (`gid`,`branch`,`phase`,`initiator`,`incarnation`)');
  expect(barrier['Create Table']).toContain('UNIQUE KEY `one_in_place` (`gid`,`branch`,`phase`,`place`)');
  const [transactions] = await source.query('SHOW CREATE TABLE dtx_tcc');
  expect(transactions['Create Table']).toContain('`incarnation`');
  const versions = await source.query('SELECT version FROM dtx_schema_version WHERE component = ?', [COMPONENT]);
  expect(versions.map(({ version }: { version: number }) => Number(version))).toEqual(
    tccMigrations.map(({ version }) => version),
  );
  const rows = await source.query(`SELECT initiator, incarnation, place FROM dtx_tcc_barrier WHERE gid = 'before'`);
  expect(rows).toEqual([{ initiator: '-', incarnation: '-', place: 1 }]);
}

const toNew = (source: DataSource) => migrate(source, COMPONENT, tccMigrations);

test('the migration may run again, and again after its record is lost', async () => {
  const source = await oldDatabase();
  await toNew(source);
  await expectMigrated(source);
  await toNew(source);
  await source.query('DELETE FROM dtx_schema_version WHERE component = ? AND version = 2', [COMPONENT]);
  await toNew(source);
  await expectMigrated(source);
});

test.each(second.up.map((_, done) => done))(
  'a migration that ended after %i of its statements is completed',
  async (done) => {
    const source = await oldDatabase();
    const broken = { ...second, up: [...second.up.slice(0, done), 'SELECT nothing FROM nowhere'] };
    await expect(migrate(source, COMPONENT, [first, broken])).rejects.toThrow(/nowhere/);
    await source.query(INSERT_OLD, ['between', 'try']); // the version before works on
    await toNew(source);
    await expectMigrated(source);
  },
);

test('several instances may migrate at once', async () => {
  const sources = [await oldDatabase()];
  for (let n = 1; n < 4; n++) {
    const source = await new DataSource({ type: 'mysql', url: sandbox.databases.payment }).initialize();
    opened.push({ close: () => source.destroy() });
    sources.push(source);
  }
  await Promise.all(sources.map(toNew));
  await expectMigrated(sources[0]!);
});

/** A process of its own that does nothing but migrate. */
function migratingProcess() {
  const script = `
    import { DataSource } from 'typeorm';
    import { migrate } from ${JSON.stringify(file('core/database/migrate.js'))};
    import { tccMigrations } from ${JSON.stringify(file('tcc/tcc-tables.js'))};
    const source = await new DataSource({ type: 'mysql', url: process.env.URL }).initialize();
    await migrate(source, '${COMPONENT}', tccMigrations);
    await source.destroy();`;
  const env = { ...process.env, URL: sandbox.databases.payment };
  const child = spawnForFile(process.execPath, ['--input-type=module', '-e', script], {
    cwd: ROOT,
    env,
    stdio: 'inherit',
  });
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return { child, ended };
}

test('a process that is killed while it alters the table leaves it whole, and the next one completes the migration', async () => {
  const source = await oldDatabase();
  await fill(source);
  const { child, ended } = migratingProcess();
  await until('it alters the table', async () => {
    const rows = await source.query(`SELECT 1 FROM information_schema.processlist
      WHERE db = DATABASE() AND info LIKE 'ALTER TABLE dtx_tcc_barrier%'`);
    return rows.length > 0;
  });
  child.kill('SIGKILL');
  await ended;
  const [{ n }] = await source.query('SELECT COUNT(*) AS n FROM dtx_schema_version WHERE version = 2');
  expect(Number(n)).toBe(0);
  expect(await migratingProcess().ended).toBe(0);
  await expectMigrated(source);
  const [{ rows }] = await source.query('SELECT COUNT(*) AS `rows` FROM dtx_tcc_barrier');
  expect(Number(rows)).toBe(MANY_ROWS + 1);
}, 240_000);

/** Rows of the version before, so many that to alter their table takes a while. */
async function fill(source: DataSource): Promise<void> {
  await source.query(
    `INSERT INTO dtx_tcc_barrier (gid, branch, phase, op, participant, data, created_at)
     SELECT CONCAT('many-', a.n * 1000 + b.n), 0, 'try', 'try', 'payment.tried', REPEAT('x', 200), UTC_TIMESTAMP(3)
     FROM ${numbers(MANY_ROWS / 1_000)} AS a CROSS JOIN ${numbers(1_000)} AS b`,
  );
}

/** The numbers below a thousand, or fewer, as a table. */
function numbers(count: number): string {
  return `(WITH RECURSIVE q (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM q WHERE n < ${count - 1}) SELECT n FROM q)`;
}

test('an open transaction delays the migration for some seconds, and other sessions are not delayed until it ends', async () => {
  const source = await oldDatabase();
  const holder = await createConnection({ uri: sandbox.databases.payment });
  opened.push({ close: () => holder.end() });
  await holder.query('START TRANSACTION');
  await holder.query('SELECT COUNT(*) FROM dtx_tcc_barrier');
  const began = performance.now();
  const refused = expect(toNew(source)).rejects.toThrow(/Lock wait timeout/);
  await until('it waits', async () => {
    const rows = await source.query(`SELECT 1 FROM information_schema.processlist
      WHERE db = DATABASE() AND state LIKE 'Waiting for table metadata lock%'`);
    return rows.length > 0;
  });
  await source.query(INSERT_OLD, ['behind it', 'try']);
  await refused;
  expect(performance.now() - began).toBeLessThan(15_000);
  await holder.query('COMMIT');
  await toNew(source);
  await expectMigrated(source);
});

test('the version before goes on while the table is altered, and beside instances of this version', async () => {
  const source = await oldDatabase();
  await fill(source);
  await sql(sandbox, 'payment', EFFECTS);
  const library = libraries.old;
  const old = await LittleApp.start({ sandbox, library, providers: recorders(library) });
  opened.push(old);
  const order = await LittleApp.start({ sandbox, library, app: 'order' });
  opened.push(order);
  // A database that is being altered may take its time, or refuse one call. The caller repeats it.
  const caller: Caller = async (branch, about) => {
    for (;;) {
      const answer = await order.calls.call(branch, about, 20_000);
      if (answer.verdict !== 'failed') return answer;
    }
  };
  const playedWhen = { before: 0, meanwhile: 0, after: 0 };
  let when: keyof typeof playedWhen = 'before';
  const played = (async () => {
    for (const given of fc.sample(arrivals, 2_000)) {
      expect(await play(old, { ...given, isMixed: true }, caller)).toBeNull();
      playedWhen[when]++;
      if (playedWhen.after === 100) return;
    }
  })();
  await until('the version before is at work', () => playedWhen.before > 10);
  when = 'meanwhile';
  const instance = LittleApp.start({ sandbox, library: libraries.new, providers: recorders(libraries.new) });
  opened.push(await instance);
  when = 'after';
  await played;
  expect([playedWhen.meanwhile > 0, playedWhen.after]).toEqual([true, 100]);
  await expectMigrated(source);
}, 240_000);
