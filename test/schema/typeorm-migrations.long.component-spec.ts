import { DataSource } from 'typeorm';
import { beforeEach, expect, test } from 'vitest';
import type { dtxMigrations, TableScheme } from '../../libs/dtx/src/schema/index.js';
import { built } from '../fixtures/built-library.js';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { dtx } from './dtx-command.js';

const { dtxMigrations: migrationsOf } = built('schema/index.js') as { dtxMigrations: typeof dtxMigrations };
const library = libraryOf();
let sandbox: Sandbox;

beforeEach(async () => {
  sandbox = await freshSandbox('typeorm_migrations', { audited: false });
});

/** What `typeorm migration:run` does. Returns the names of the migrations that ran. */
async function runMigrations(schemes?: readonly TableScheme[]): Promise<string[]> {
  const source = await new DataSource({
    type: 'mysql',
    url: sandbox.databases.payment,
    migrations: migrationsOf({ schemes }),
  }).initialize();
  try {
    return (await source.runMigrations()).map(({ name }) => name);
  } finally {
    await source.destroy();
  }
}

test("TypeORM migrations create the schema once, and migrate: 'check' accepts it", async () => {
  const first = await runMigrations();
  expect(first).toHaveLength(migrationsOf().length);
  expect(await runMigrations()).toEqual([]);
  expect(await dtx(['status'], sandbox.databases.payment)).toMatchObject({ code: 0 });
  const service = await LittleService.start({ sandbox, library, core: { migrate: 'check' } });
  expect(service.get(library.Database).ready).toBe(true);
  await service.close();
});

test('TypeORM migrations run again over a schema of nest-dtx migrate, and change nothing', async () => {
  await dtx(['migrate'], sandbox.databases.payment);
  const versions = () => sql(sandbox, 'payment', 'SELECT * FROM dtx_schema_version ORDER BY component, version');
  const before = await versions();
  expect(await runMigrations()).toHaveLength(migrationsOf().length);
  expect(await versions()).toEqual(before);
});

test('a scheme that is added later adds its own TypeORM migrations', async () => {
  await runMigrations(['local-message']);
  const added = await runMigrations(['local-message', 'xa-participant']);
  expect(added).toEqual(['DtxXaWitnessV1_1500000012001']);
});

test('the revert of a TypeORM migration is refused, because a table may have open rows', async () => {
  await runMigrations(['local-message']);
  const source = await new DataSource({
    type: 'mysql',
    url: sandbox.databases.payment,
    migrations: migrationsOf({ schemes: ['local-message'] }),
  }).initialize();
  await expect(source.undoLastMigration()).rejects.toThrow(/cannot revert DtxKeyedV\d+_\d+: a table of nest-dtx/);
  await source.destroy();
  expect(await dtx(['status', '--schemes', 'local-message'], sandbox.databases.payment)).toMatchObject({ code: 0 });
});
