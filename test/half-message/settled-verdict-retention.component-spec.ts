import { afterAll, beforeAll, expect, test } from 'vitest';
import { LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('half_retention', { audited: false });
  const halfMessage = { retentionMs: 60_000 };
  service = await LittleService.start({ sandbox, library: libraryOf(), core: { purgeIntervalMs: 50 }, halfMessage });
});
afterAll(() => service?.close());

test('a final verdict stays as long as an Idempotency-Key may refer to it, whatever its retention is', async () => {
  const insert = (id: string, hours: number) =>
    sql(
      sandbox,
      'payment',
      `INSERT INTO dtx_half (id, gid, contract, version, consumers, state, created_at, done_at)
       VALUES (?, ?, 'flash.sold', 1, 'payment.take', 'DONE',
         UTC_TIMESTAMP(3) - INTERVAL ? HOUR, UTC_TIMESTAMP(3) - INTERVAL ? HOUR)`,
      [id, id, hours, hours],
    );
  // A key is kept for 48 hours.
  await insert('young', 47);
  await insert('over', 49);
  const ids = async () =>
    (await sql<{ id: string }>(sandbox, 'payment', 'SELECT id FROM dtx_half ORDER BY id')).map(({ id }) => id);
  await until('the old one is purged', async () => !(await ids()).includes('over'));
  expect(await ids()).toEqual(['young']);
});
