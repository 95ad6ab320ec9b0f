import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { expectNothingLeft } from './branches-and-decisions.js';
import { ALL, effectsOf, everywhere, LittleXas, libraryOf, prepareTables } from './little-xa.js';

const library = libraryOf();
let sandbox: Sandbox;
const apps = new LittleXas(() => ({ sandbox, library }));

beforeAll(async () => {
  sandbox = await freshSandbox('xa_schema_versions');
  await prepareTables(sandbox, library);
});

afterEach(() => apps.closeAll());

afterAll(() => expectNothingLeft(sandbox));

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
    await sql(
      sandbox,
      name,
      `INSERT INTO dtx_schema_version (component, version, name, applied_at) VALUES ('business', 2, 'by hand', UTC_TIMESTAMP(3))`,
    );
  await until('it is opened', () => app.run('right-schema', everywhere('right-schema')).then(() => true));
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_schema_version (component, version, name, applied_at) VALUES ('business', 3, 'by hand', UTC_TIMESTAMP(3))`,
  );
  await until('it is noticed', () =>
    app.run('newer-schema', everywhere('newer-schema')).then(
      () =>
        Promise.all(ALL.map((name) => sql(sandbox, name, `DELETE FROM effect WHERE gid = 'newer-schema'`))).then(
          () => false,
        ),
      (error: Error) => /version 3, open to programs from version 3, not 2/.test(error.message),
    ),
  );
});
