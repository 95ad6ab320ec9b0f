import { createConnection } from 'mysql2/promise';
import { DataSource } from 'typeorm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Migration } from '../../../libs/dtx/src/index.js';
import { libraryOf } from '../../fixtures/little-service.js';
import { statementsNow } from '../../fixtures/running-statements.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

/**
 * The nodes of a Galera cluster share tables and no named locks, so two instances may migrate at the same time. The test
 * is the instance at the other node: it acts while the migration waits between its check and its statement.
 */
const { migrate } = libraryOf();
const GATE = 'two-nodes-gate';
let sandbox: Sandbox;
let source: DataSource;

beforeAll(async () => {
  sandbox = await freshSandbox('two_nodes', { audited: false });
  source = await new DataSource({ type: 'mysql', url: sandbox.databases.payment }).initialize();
  await sql(sandbox, 'payment', 'CREATE TABLE parcel (id INT PRIMARY KEY)');
});

afterAll(() => source?.destroy());

const hasWeight = `SELECT found.n FROM (SELECT COUNT(*) AS n FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'parcel' AND column_name = 'weight') found
  WHERE found.n > 0 OR GET_LOCK('${GATE}', 30) + RELEASE_LOCK('${GATE}') = 0`;
const addWeight = 'ALTER TABLE parcel ADD COLUMN weight INT NULL';

/** Runs `act` on another connection while the migration waits after its check. */
async function meanwhile(migration: Promise<void>, act: () => Promise<unknown>): Promise<void> {
  migration.catch(() => {});
  await until('the migration waits', async () => (await statementsNow(sandbox, 'payment', `%GET_LOCK('${GATE}%`)) > 0);
  await act();
}

const versions = (component: string) =>
  sql<{ version: number }>(sandbox, 'payment', 'SELECT version FROM dtx_schema_version WHERE component = ?', [
    component,
  ]);

test('a migration that an instance at another node has finished meanwhile is complete', async () => {
  const migrations: Migration[] = [{ version: 1, name: 'weights', up: [{ unless: hasWeight, sql: addWeight }] }];
  const gate = await createConnection(sandbox.databases.payment);
  await gate.query('DO GET_LOCK(?, 0)', [GATE]);
  const migration = migrate(source, 'parcels', migrations);
  await meanwhile(migration, async () => {
    await sql(sandbox, 'payment', addWeight);
    await sql(
      sandbox,
      'payment',
      `INSERT INTO dtx_schema_version (component, version, name, applied_at) VALUES ('parcels', 1, 'weights', UTC_TIMESTAMP(3))`,
    );
    await gate.query('DO RELEASE_LOCK(?)', [GATE]);
  });
  await migration;
  expect(await versions('parcels')).toEqual([{ version: 1 }]);
  await gate.end();
});

test('a statement that fails without effect fails its migration', async () => {
  const wrong = { unless: hasWeight.replaceAll('weight', 'height'), sql: addWeight };
  await expect(migrate(source, 'wrong parcels', [{ version: 1, name: 'heights', up: [wrong] }])).rejects.toThrow(
    /Duplicate column/,
  );
  expect(await versions('wrong parcels')).toEqual([]);
});
