import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { built } from '../../fixtures/built-library.js';
import { LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';

const library = libraryOf();
const { KeyedClaim }: typeof import('../../../libs/dtx/src/core/durable/concurrency-key-claim.js') = built(
  'core/durable/concurrency-key-claim.js',
);
const { OUTBOX }: typeof import('../../../libs/dtx/src/local-message/outbox-table.js') = built(
  'local-message/outbox-table.js',
);
const KEY = ',payment.busy,';
const ROWS = 20;
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('claims_while_runs_end', { audited: false });
  // Nothing but the test claims rows.
  service = await LittleService.start({ sandbox, library, core: { relay: false } });
  const rows = Array.from({ length: ROWS }, () => [randomUUID(), KEY]);
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_outbox (id, awaiting, gid, contract, version, payload, state, next_attempt_at, created_at)
     VALUES ${rows.map(() => `(?, 'left', 'test.busy', 1, '{}', 'PENDING', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`).join(', ')}`,
    rows,
  );
});
afterAll(() => service?.close());

test('a claim knows that a key has further rows although places become free during the claim', async () => {
  const claims = new KeyedClaim(() => service.get(library.Database).own, OUTBOX, 60_000);
  expect((await claims.claim(100, () => 1, [])).rows).toHaveLength(1);
  // Two places at the look, all places when the rows of the look are taken.
  let asked = 0;
  const { rows } = await claims.claim(100, () => (asked++ < 2 ? 2 : 100), []);
  expect(rows.length).toBeGreaterThanOrEqual(2);
  expect(claims.hasLeft(KEY)).toBe(true);
});
