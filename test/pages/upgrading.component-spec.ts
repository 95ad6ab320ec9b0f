import { afterAll, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { codeOf, statementsOf } from './page-code.js';

/** The queries of docs/upgrading.md, and the way back to the version before. */
const [parked, versions] = codeOf('upgrading.md', 'sql').map((code) => statementsOf(code)[0]!);
const library = libraryOf();
const contract = contractOf(library, 'message');
let sandbox: Sandbox;
let service: LittleService | undefined;
const handled: string[] = [];

async function start(): Promise<void> {
  const on = (_: unknown, { gid }: { gid: string }) => void handled.push(gid);
  service = await LittleService.start({
    sandbox,
    library,
    controllers: [controllerOf([[library.OnMessage(contract), on]])],
  });
}

async function close(): Promise<void> {
  await service?.close();
  service = undefined;
}

const append = (gid: string) =>
  service!.source.transaction((tx) => service!.get(library.LocalMessages).append(tx, contract, { gid }));

beforeAll(async () => {
  sandbox = await freshSandbox('upgrading', { audited: false });
  await start();
});

afterAll(close);

test('the queries show the versions of all components and the open alerts', async () => {
  const rows = await sql<{ component: string; version: number }>(sandbox, 'payment', versions!);
  const found = Object.fromEntries(rows.map(({ component, version }) => [component, version]));
  expect(found['dtx-local-message']).toBeGreaterThanOrEqual(4);
  expect(await sql(sandbox, 'payment', parked!)).toEqual([]);
});

test('an instance works on tables that a later version has migrated, with every row that the later one left', async () => {
  await append('before');
  await close();
  for (const table of ['dtx_outbox', 'dtx_inbox'])
    await sql(
      sandbox,
      'payment',
      `ALTER TABLE ${table} ADD COLUMN of_a_later_version INT NULL, ADD INDEX of_later (created_at)`,
    );
  for (const component of ['dtx-local-message', 'dtx-inbox', 'dtx-of-a-later-version'])
    await sql(
      sandbox,
      'payment',
      `INSERT INTO dtx_schema_version (component, version, name, applied_at) VALUES (?, 99, 'of a later version', UTC_TIMESTAMP(3))`,
      [component],
    );
  await start();
  await append('after');
  await until('both are DONE', async () => {
    const rows = await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_outbox');
    return rows.length === 2 && rows.every(({ state }) => state === 'DONE');
  });
  expect(handled.toSorted()).toEqual(['after', 'before']);
});
