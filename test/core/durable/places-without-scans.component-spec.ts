import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { OutboxRow } from '../../../libs/dtx/src/local-message/outbox-table.js';
import { built } from '../../fixtures/built-library.js';
import { LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until, untilPassed } from '../../fixtures/until.js';

/** A loop with `relay: false` has a fast path and no scan. A row that finds no place of its key goes to another process. */
const library = libraryOf();
const { DurableLoops }: typeof import('../../../libs/dtx/src/core/durable/loop-factory.js') =
  built('core/durable/loop-factory.js');
const { HOLD_MS }: typeof import('../../../libs/dtx/src/core/durable/concurrency-key-shares.js') = built(
  'core/durable/concurrency-key-shares.js',
);
const { OUTBOX }: typeof import('../../../libs/dtx/src/local-message/outbox-table.js') = built(
  'local-message/outbox-table.js',
);
const KEY = ',payment.busy,';
const TOKEN = randomUUID();
const CLAIMED = 'SELECT id FROM dtx_outbox WHERE id IN (?) AND claim_token IS NOT NULL';
const WORK = {
  scheme: 'test',
  table: OUTBOX,
  leaseMs: 60_000,
  scanIntervalMs: 1_000,
  concurrencyMax: 8,
  perKeyMax: 2,
  attemptsMax: 3,
  backoff: { firstMs: 1_000, factor: 1, capMs: 1_000 },
  canRun: () => true,
  describe: ({ id }: { id: string }) => ({ gid: null, step: id }),
};
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('places_without_scans', { audited: false });
  service = await LittleService.start({ sandbox, library, core: { relay: false } });
});
afterAll(() => service?.close());

async function leasedRows(count: number): Promise<OutboxRow[]> {
  const ids = Array.from({ length: count }, () => randomUUID());
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_outbox (id, awaiting, gid, contract, version, payload, state, claim_token, next_attempt_at, created_at)
     VALUES ${ids.map(() => `(?, ?, 'left', 'test.busy', 1, '{}', 'PENDING', ?, UTC_TIMESTAMP(3) + INTERVAL 1 HOUR, UTC_TIMESTAMP(3))`).join(', ')}`,
    ids.flatMap((id) => [id, KEY, TOKEN]),
  );
  return ids.map((id) => ({ id, awaiting: KEY, claim_token: TOKEN, attempts: 0, state: 'PENDING' }) as OutboxRow);
}

async function isGivenBack({ id }: OutboxRow): Promise<boolean> {
  const due = 'SELECT id FROM dtx_outbox WHERE id = ? AND claim_token IS NULL AND next_attempt_at <= UTC_TIMESTAMP(3)';
  return (await sql(sandbox, 'payment', due, [id])).length === 1;
}

test('rows without a place are given back, and later rows of the key start', async () => {
  const started: string[] = [];
  let isFree = false;
  const loop = service.get(DurableLoops).create<OutboxRow>({
    ...WORK,
    run: async ({ id }) => {
      started.push(id);
      await until('the target answers', () => isFree);
      return { kind: 'settled' };
    },
  });
  loop.start();
  const rows = await leasedRows(4);
  const since = performance.now();
  for (const row of rows) loop.runSoon(row);
  expect(loop.hasRoomIn(KEY)).toBe(false);
  await until('a row starts', () => started.length > 0);
  const left = rows.filter(({ id }) => !started.includes(id));
  expect(left.length).toBeGreaterThan(0);
  await untilPassed(since, HOLD_MS + 100);
  isFree = true;
  await until('a place is free', () => loop.hasRoomIn(KEY));
  for (const row of left) await until('the row is given back', () => isGivenBack(row), { withinMs: 5_000 });

  const [later] = (await leasedRows(1)) as [OutboxRow];
  loop.runSoon(later);
  await until('the later row starts', () => started.includes(later.id), { withinMs: 5_000 });
  await loop.stop();
});

test('rows that a run has claimed and not started are given back by a stop', async () => {
  const ids: string[] = Array.from({ length: 6 }, () => randomUUID());
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_outbox (id, awaiting, gid, contract, version, payload, state, next_attempt_at, created_at)
     VALUES ${ids.map(() => `(?, ',payment.stopped,', 'left', 'test.stopped', 1, '{}', 'PENDING', '2021-01-01', UTC_TIMESTAMP(3))`).join(', ')}`,
    ids,
  );
  const started: string[] = [];
  let isFree = false;
  const loop = service.get(DurableLoops).create<OutboxRow>({
    ...WORK,
    run: async ({ id }) => {
      if (!ids.includes(id)) return { kind: 'settled' };
      started.push(id);
      // A key that has answered gets a second place, and its next rows wait in memory.
      if (started.length > 1) await until('the target answers', () => isFree);
      return { kind: 'settled' };
    },
  });
  loop.start();
  const run = loop.runOnce(new AbortController().signal);
  await until('both places are taken', () => started.length === 3);
  const claimed = () => sql<{ id: string }>(sandbox, 'payment', CLAIMED, [ids]);
  expect((await claimed()).length).toBeGreaterThan(started.length);
  const stopped = loop.stop();
  isFree = true;
  await Promise.all([stopped, run]);
  expect((await claimed()).map(({ id }) => id).sort()).toEqual([...started].sort());
});
