import { afterAll, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { LittleApp, libraryOf } from './little-app.js';

let sandbox: Sandbox;
let app: LittleApp;

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_retention', { audited: false });
  const core = { purgeIntervalMs: 50 };
  app = await LittleApp.start({ sandbox, library: libraryOf(), core, participates: { retentionMs: 60_000 } });
});
afterAll(() => app?.close());

test('a settled transaction stays as long as an Idempotency-Key may refer to it, whatever its retention is', async () => {
  const insert = (id: string, hours: { created: number; settled: number }) =>
    sql(
      sandbox,
      'payment',
      `INSERT INTO dtx_tcc (id, gid, state, decision, deadline, created_at, settled_at) VALUES (?, ?, 'CONFIRMED', 'CONFIRM',
         UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) - INTERVAL ? HOUR, UTC_TIMESTAMP(3) - INTERVAL ? HOUR)`,
      [id, id, hours.created, hours.settled],
    );
  // A key is kept for 48 hours.
  await insert('young', { created: 47, settled: 47 });
  await insert('waited-for-an-operator', { created: 500, settled: 47 });
  await insert('over', { created: 49, settled: 49 });
  const ids = async () =>
    (await sql<{ id: string }>(sandbox, 'payment', 'SELECT id FROM dtx_tcc ORDER BY id')).map(({ id }) => id);
  await until('the old one is purged', async () => !(await ids()).includes('over'));
  expect(await ids()).toEqual(['waited-for-an-operator', 'young']);
});
