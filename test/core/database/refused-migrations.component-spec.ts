import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { LittleApp, libraryOf } from '../../tcc/little-app.js';

const library = libraryOf();
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('refused_migrations', { audited: false });
});

test('migrations that are added after the migration of the database are refused', async () => {
  const app = await LittleApp.start({ sandbox, library });
  onTestFinished(() => app.close());
  const late = [{ version: 1, name: 'late', up: ['CREATE TABLE late (id INT)'] }];
  expect(() => app.context.get(library.Database).addMigrations('late', late)).toThrow(
    /"late": the database is already migrated/,
  );
});

test('an app with the name of a component of the library is refused, because their migrations share one table', async () => {
  const migrations = [{ version: 1, name: 'own', up: ['CREATE TABLE own (id INT)'] }];
  await expect(LittleApp.start({ sandbox, library, core: { app: 'dtx-tcc', migrations } })).rejects.toThrow(
    /two components have the name "dtx-tcc"/,
  );
});
