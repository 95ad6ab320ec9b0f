import type { DataSource } from 'typeorm';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { inTransaction, OutcomeUnknown } from '../../../libs/dtx/src/index.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { type Library, LittleApp, type LittleOptions, libraryOf } from '../../tcc/little-app.js';

let sandbox: Sandbox;
let library: Library & { inTransaction: typeof inTransaction; OutcomeUnknown: typeof OutcomeUnknown };
let app: LittleApp;

beforeAll(async () => {
  sandbox = await freshSandbox('transactions', { audited: false });
  library = libraryOf() as typeof library;
  await sql(sandbox, 'payment', 'CREATE TABLE effect (gid VARCHAR(64) NOT NULL)');
});

afterEach(() => app.close());

async function start(options: Partial<LittleOptions> = {}): Promise<DataSource> {
  app = await LittleApp.start({ sandbox, library, ...options });
  return app.source;
}

const deadlock = () => Object.assign(new Error('a deadlock of its own'), { errno: 1213 });
const effects = async (gid: string) =>
  (await sql(sandbox, 'payment', 'SELECT gid FROM effect WHERE gid = ?', [gid])).length;

/** Runs a unit of work with hooks after its COMMIT. */
function unitWith(source: DataSource, gid: string, hooks: Array<() => Promise<void>>): Promise<string> {
  return library.inTransaction(source, async (tx) => {
    await tx.query('INSERT INTO effect VALUES (?)', [gid]);
    for (const hook of hooks) app.context.get(library.Database).hooks.afterCommit(tx, hook);
    return gid;
  });
}

test('a hook that fails after the COMMIT neither repeats the unit nor stops the other hooks', async () => {
  const source = await start();
  let ran = 0;
  const failing = async () => {
    throw deadlock();
  };
  const counting = async () => void ran++;
  await expect(unitWith(source, 'hooked', [failing, counting])).resolves.toBe('hooked');
  expect([await effects('hooked'), ran]).toEqual([1, 1]);
});

test('a hook that throws OutcomeUnknown passes it to the caller, and the unit is committed once', async () => {
  const source = await start();
  const unknowing = async () => {
    throw new library.OutcomeUnknown('not known');
  };
  await expect(unitWith(source, 'unknown', [unknowing])).rejects.toThrow('not known');
  expect(await effects('unknown')).toBe(1);
});
