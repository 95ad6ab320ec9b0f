import { afterAll, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { numbersBelow } from '../fixtures/number-sequence-sql.js';
import { rowsReadBy } from '../fixtures/rows-read.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';

const library = libraryOf();
const SCHEDULED = 50_000;
const contract = contractOf(library, 'scheduled-counts');
let sandbox: Sandbox;
let service: LittleService;

beforeAll(async () => {
  sandbox = await freshSandbox('scheduled_row_counts', { audited: false });
  service = await LittleService.start({
    sandbox,
    library,
    controllers: [controllerOf([[library.OnMessage(contract), async () => {}]])],
    source: { extra: { connectionLimit: 1 } } as never,
    // No count and no loop of the service takes the only connection.
    core: { relay: false },
  });
  const columns = 'id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at';
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_outbox (${columns}) SELECT CONCAT('m', LPAD(n, 35, '0')), 'g', '${contract.name}', 1, '{}', ',payment.absent,',
       'SCHEDULED', UTC_TIMESTAMP(3) + INTERVAL 30 DAY, UTC_TIMESTAMP(3) + INTERVAL 30 DAY FROM ${numbersBelow(SCHEDULED)}`,
  );
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_outbox (${columns}) VALUES ('overdue', 'g', '${contract.name}', 1, '{}', ',payment.absent,', 'PENDING',
       UTC_TIMESTAMP(3) - INTERVAL 5 SECOND, UTC_TIMESTAMP(3))`,
  );
});
afterAll(() => service?.close());

test('scheduled rows are counted once, and anew after an operator has changed one', async () => {
  const id = (n: number) => `m${String(n).padStart(35, '0')}`;
  const session = { query: (text: string, values: unknown[]) => service.source.query(text, values) } as never;
  const summaries = async () => {
    for (const source of service.get(library.Operations).sources)
      for (const row of await source.summary(session)) if (row.source === 'dtx_outbox') return { source, row };
    throw new Error('the outbox is no source of the operations');
  };
  const { source, row } = await summaries();
  expect(row.states).toEqual({ PENDING: 1, SCHEDULED });
  expect(row.oldestDueMs).toBeGreaterThanOrEqual(5_000);
  const read = await rowsReadBy(service.source, async () => {
    for (let n = 0; n < 10; n++) expect((await source.summary(session))[0]!.states).toEqual({ PENDING: 1, SCHEDULED });
  });
  expect(read).toBeLessThan(1_000);

  await service.source.query(`DELETE FROM dtx_outbox WHERE id = ?`, [id(0)]);
  expect(await source.retry(id(1), { by: 'alice' })).toBe('done');
  expect((await source.summary(session))[0]!.states).toEqual({ PENDING: 1, SCHEDULED: SCHEDULED - 1 });
});
