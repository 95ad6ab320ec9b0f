import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import type { CoreOptionsInput, Database } from '../../libs/dtx/src/index.js';
import { built } from '../fixtures/built-library.js';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { LittleApp, libraryOf as littleLibraryOf } from '../tcc/little-app.js';
import { dtx } from './dtx-command.js';
import { dmlOf, limitedAccount } from './limited-account.js';

const library = libraryOf();
const { dtxGrantSql } = built('schema/index.js');
const SHORT = { firstMs: 50, factor: 1, capMs: 50 };
let sandbox: Sandbox;

beforeEach(async () => {
  sandbox = await freshSandbox('migrate_modes', { audited: false });
});

const at = (url: string): Sandbox => ({ ...sandbox, databases: { ...sandbox.databases, payment: url } });

/** The service as soon as it is open. Fails with its problem. */
async function opened(url: string, core: Partial<CoreOptionsInput> = {}): Promise<LittleService> {
  const service = await LittleService.start({ sandbox: at(url), library, core: { reconnect: SHORT, ...core } });
  onTestFinished(() => service.close());
  return service;
}

/** The service while its database does not open. */
async function waiting(url: string, core: Partial<CoreOptionsInput> = {}): Promise<Database> {
  let database: Database | undefined;
  const starting = LittleApp.start({
    sandbox: at(url),
    library: littleLibraryOf(),
    core: { reconnect: SHORT, ...core },
    providers: [
      {
        provide: 'the database',
        inject: [littleLibraryOf().Database],
        useFactory: (found: Database) => {
          database = found;
          return found;
        },
      },
    ],
  });
  onTestFinished(async () => (await starting).close());
  return until('the database has a problem', () => (database?.problem ? database : null));
}

test.each(['auto', 'check'] as const)(
  "an account without CREATE opens a schema that is up to date under migrate: '%s'",
  async (migrate) => {
    expect(await dtx(['migrate'], sandbox.databases.payment)).toMatchObject({ code: 0 });
    const { url } = await limitedAccount(sandbox, dtxGrantSql('ACCOUNT'));
    const service = await opened(url, { migrate });
    expect(service.get(library.Database).ready).toBe(true);
  },
);

test("an account without CREATE waits for a migration under migrate: 'auto', and the error names the right", async () => {
  const { url } = await limitedAccount(sandbox, [dmlOf(sandbox)]);
  const database = await waiting(url);
  expect(database.problem).toMatch(/the account lacks a right for the table of schema versions: CREATE/);
  expect(database.ready).toBe(false);
  await dtx(['migrate'], sandbox.databases.payment);
  await until('the database is open', () => database.ready);
});

test("migrate: 'check' runs no DDL, names the versions that are behind, and opens after nest-dtx migrate", async () => {
  const database = await waiting(sandbox.databases.payment, { migrate: 'check' });
  expect(database.problem).toMatch(
    /^the schema is behind: .*dtx-inbox is at version none, needed is 5.*; run npx nest-dtx migrate, /,
  );
  expect(database.ready).toBe(false);
  expect(await sql(sandbox, 'payment', 'SHOW TABLES')).toEqual([]);
  await dtx(['migrate'], sandbox.databases.payment);
  await until('the database is open', () => database.ready);
  expect(database.problem).toBe('');
});

test("migrate: 'check' names the version of a component that is one version behind", async () => {
  await dtx(['migrate'], sandbox.databases.payment);
  await sql(sandbox, 'payment', `DELETE FROM dtx_schema_version WHERE component = 'dtx-inbox' AND version = 5`);
  const database = await waiting(sandbox.databases.payment, { migrate: 'check' });
  expect(database.problem).toMatch(/^the schema is behind: dtx-inbox is at version 4, needed is 5; run npx nest-dtx/);
  await dtx(['migrate'], sandbox.databases.payment);
  await until('the database is open', () => database.ready);
});

test("migrate: 'check' names the prefix of the tables that nest-dtx migrate shall make", async () => {
  const database = await waiting(sandbox.databases.payment, { migrate: 'check', tablePrefix: 'red' });
  expect(database.problem).toMatch(/; run npx nest-dtx migrate --table-prefix red, /);
  const behind = await dtx(['status', '--table-prefix', 'red'], sandbox.databases.payment);
  expect(behind).toMatchObject({
    code: 2,
    output: expect.stringContaining('run npx nest-dtx migrate --table-prefix red'),
  });
  await dtx(['migrate', '--table-prefix', 'red'], sandbox.databases.payment);
  await until('the database is open', () => database.ready);
});

test('migrate: false reads no version, so an account without rights on dtx_schema_version opens', async () => {
  await dtx(['migrate'], sandbox.databases.payment);
  const grants: string[] = dtxGrantSql('ACCOUNT');
  const isOfVersions = (grant: string) => grant.includes('dtx_schema_version');
  const { url, name } = await limitedAccount(
    sandbox,
    grants.filter((grant) => !isOfVersions(grant)),
  );
  const checked = await waiting(url, { migrate: 'check' });
  expect(checked.problem).toMatch(/the account lacks a right for the look at the versions of the schema: SELECT/);
  const service = await opened(url, { migrate: false });
  expect(service.get(library.Database).ready).toBe(true);
  expect(checked.ready).toBe(false);
  await sql(sandbox, 'payment', grants.find(isOfVersions)!.replace('ACCOUNT', name));
  await until('the database that was waiting for the right is open', () => checked.ready);
});

test("migrate: 'check' covers the migrations of the app, which nest-dtx migrate applies from their module", async () => {
  const migrations = [{ version: 1, name: 'parcels', up: ['CREATE TABLE parcel (id INT PRIMARY KEY)'] }];
  const folder = mkdtempSync(join(tmpdir(), 'dtx-migrations-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'migrations.cjs');
  writeFileSync(file, `exports.migrations = ${JSON.stringify(migrations)};`);
  await dtx(['migrate'], sandbox.databases.payment);
  const database = await waiting(sandbox.databases.payment, { migrate: 'check', migrations });
  expect(database.problem).toMatch(/^the schema is behind: payment is at version none, needed is 1 .*--app payment /);
  const applied = await dtx(['migrate', '--app', 'payment', '--migrations', file], sandbox.databases.payment);
  expect(applied).toMatchObject({ code: 0, output: expect.stringContaining('payment version 1: parcels') });
  await until('the database is open', () => database.ready);
  expect(await sql(sandbox, 'payment', 'SELECT COUNT(*) AS n FROM parcel')).toEqual([{ n: 0 }]);
});
