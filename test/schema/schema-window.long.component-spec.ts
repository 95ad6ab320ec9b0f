import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import type { DtxMigration } from '../../libs/dtx/src/index.js';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { dtx } from './dtx-command.js';

/** The app payment with version 1 of its own schema, after a later release of it has migrated to version 2 or 3. */
const library = libraryOf();
const FIRST: DtxMigration = {
  version: 1,
  name: 'parcels',
  up: ['CREATE TABLE IF NOT EXISTS parcel (id INT PRIMARY KEY)'],
};
let sandbox: Sandbox;
let url: string;

beforeEach(async () => {
  sandbox = await freshSandbox('schema_window', { audited: false });
  url = sandbox.databases.payment;
  expect(await dtx(['migrate'], url)).toMatchObject({ code: 0 });
});

async function migrate(...migrations: DtxMigration[]): Promise<void> {
  const source = await new DataSource({ type: 'mysql', url }).initialize();
  await library.migrate(source, 'payment', migrations).finally(() => source.destroy());
}

const later = (version: number, compatibleFrom?: number): DtxMigration => ({
  version,
  name: 'later',
  up: ['DO 0'],
  compatibleFrom,
});

/** Resolves if version 1 of the app opens the database. Rejects with the problem. */
async function start(mode: 'auto' | 'check'): Promise<void> {
  const reconnect = { firstMs: 50, factor: 1, capMs: 50 };
  const core = { migrate: mode, migrations: [FIRST], reconnect };
  await (await LittleService.start({ sandbox, library, core })).close();
}

test.each(['auto', 'check'] as const)(
  "an older program under migrate: '%s' opens only inside of the window",
  async (mode) => {
    await migrate(FIRST, later(2, 1));
    await start(mode);
    await migrate(later(3));
    // As in releases without statements: its own database is open to an app until a migration says otherwise.
    await start(mode);
    await migrate(later(4, 2));
    await expect(start(mode)).rejects.toThrow(
      /^the schema is newer than this program: payment is at version 4, open to programs from version 3, this program has version 1; deploy/,
    );
    await sql(sandbox, 'payment', `UPDATE dtx_schema_version SET compatible_from = 1 WHERE component = 'payment'`);
    await start(mode);
  },
);

test('an earlier table of versions works as it is, and gets its column with the next migration', async () => {
  const columns = async () =>
    (await sql(sandbox, 'payment', 'SHOW COLUMNS FROM dtx_schema_version')).map(({ Field }) => Field);
  await sql(sandbox, 'payment', 'ALTER TABLE dtx_schema_version DROP COLUMN compatible_from');
  expect(await dtx(['status'], url)).toMatchObject({ code: 0 });
  expect(await columns()).not.toContain('compatible_from');
  await expect(start('check')).rejects.toThrow(/payment is at version none, needed is 1/);
  await migrate(FIRST, later(2, 1));
  expect(await columns()).toContain('compatible_from');
  const add = `INSERT INTO dtx_schema_version (component, version, name, applied_at) VALUES ('payment', 3, 'of an earlier release', UTC_TIMESTAMP(3))`;
  await sql(sandbox, 'payment', add);
  const { output } = await dtx(['status'], url);
  expect(output).toMatch(/^app +payment +version 3, open to programs from version 3$/m);
});

test('the printed SQL adds the column to an earlier table of versions', async () => {
  await sql(sandbox, 'payment', 'ALTER TABLE dtx_schema_version DROP COLUMN compatible_from');
  const { output } = await dtx(['sql']);
  const connection = await new DataSource({ type: 'mysql', url, extra: { multipleStatements: true } }).initialize();
  await connection.query(output).finally(() => connection.destroy());
  expect(await dtx(['status'], url)).toMatchObject({ code: 0 });
  expect(await sql(sandbox, 'payment', 'SELECT DISTINCT compatible_from FROM dtx_schema_version')).toHaveLength(1);
});

test('status and doctor show the window of an app, and refuse a schema that shuts this release out', async () => {
  await migrate(FIRST, later(3, 2));
  const line = /payment.* version 3, open to programs from version 2/;
  expect(await dtx(['status'], url)).toMatchObject({ code: 0, output: expect.stringMatching(line) });
  expect((await dtx(['doctor'], url)).output).toMatch(
    /^ok +database schema: up to date, payment is at version 3, open/m,
  );
  const add = `INSERT INTO dtx_schema_version VALUES ('dtx-inbox', 99, 'later', UTC_TIMESTAMP(3), ?)`;
  await sql(sandbox, 'payment', add, [1]);
  expect(await dtx(['status'], url)).toMatchObject({
    code: 0,
    output: expect.stringMatching(/^ok +dtx-inbox .*to version 99, open to programs from version 1$/m),
  });
  await sql(sandbox, 'payment', `UPDATE dtx_schema_version SET compatible_from = 90 WHERE version = 99`);
  expect(await dtx(['status'], url)).toMatchObject({ code: 2, output: expect.stringMatching(/^newer +dtx-inbox /m) });
  expect((await dtx(['doctor'], url)).output).toMatch(
    /^FAIL +database schema: dtx-inbox is at version 99, .*; install/m,
  );
});

test.each([3, 0, 1.5, '1'])(
  'an impossible compatibleFrom %j of version 2 changes nothing, by API and by command',
  async (value) => {
    const wrong = { ...later(2), compatibleFrom: value as number };
    const line = `payment version 2: invalid compatibleFrom ${JSON.stringify(value)}; expected an integer from 1 to the version`;
    await expect(migrate(FIRST, wrong)).rejects.toThrow(line);
    const folder = mkdtempSync(join(tmpdir(), 'dtx-window-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'migrations.cjs');
    writeFileSync(file, `exports.migrations = ${JSON.stringify([FIRST, wrong])};`);
    const run = await dtx(['migrate', '--app', 'payment', '--migrations', file], url);
    expect(run).toMatchObject({ code: 2, output: expect.stringContaining(line) });
    expect(await sql(sandbox, 'payment', `SHOW TABLES LIKE 'parcel'`)).toEqual([]);
  },
);
