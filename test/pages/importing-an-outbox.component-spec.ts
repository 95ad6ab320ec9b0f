import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { codeOf, statementsOf } from './page-code.js';

/** The steps of docs/importing-an-outbox.md, in their order. */
const [misfits, move, left] = codeOf('importing-an-outbox.md', 'sql');
const library = libraryOf();
const DAY_MS = 86_400_000;
const orderPlaced = library.defineMessage({
  name: 'order.placed',
  version: 1,
  schema: z.object({ orderId: z.string(), amount: z.int() }),
  consumers: ['inventory.take-stock'],
  gid: ({ orderId }) => orderId,
});

let sandbox: Sandbox;
let sender: LittleService;
let receiver: LittleService;
const handled: string[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('importing_an_outbox', { audited: false });
  await sql(
    sandbox,
    'order',
    `CREATE TABLE outbox (id INT AUTO_INCREMENT PRIMARY KEY, event_type VARCHAR(50) NOT NULL, aggregate_id VARCHAR(80) NOT NULL,
       payload TEXT NOT NULL, created_at DATETIME(3) NOT NULL, published_at DATETIME(3) NULL)`,
  );
  const take = (_: unknown, { orderId }: { orderId: string }) => void handled.push(orderId);
  const controllers = [controllerOf([[library.OnMessage(orderPlaced), take]])];
  receiver = await LittleService.start({ sandbox, library, app: 'inventory', controllers });
  const localMessage = { retentionMs: 2_000 };
  sender = await LittleService.start({ sandbox, library, app: 'order', localMessage, core: { purgeIntervalMs: 200 } });
});

afterAll(async () => {
  await sender?.close();
  await receiver?.close();
});

/** A row of the old table, older than any message that a receiver handles. */
async function old(orderId: string, payload = JSON.stringify({ orderId, amount: 5 }), isSent = false): Promise<void> {
  const at = new Date(Date.now() - 30 * DAY_MS);
  await sql(
    sandbox,
    'order',
    'INSERT INTO outbox (event_type, aggregate_id, payload, created_at, published_at) VALUES (?, ?, ?, ?, ?)',
    ['OrderPlaced', orderId, payload, at, isSent ? at : null],
  );
}

async function runMove(): Promise<void> {
  const connection = await createConnection(sandbox.databases.order);
  for (const statement of statementsOf(move!)) await connection.query(statement);
  await connection.end();
}

const misfitIds = () => sql(sandbox, 'order', statementsOf(misfits!)[0]!);
const imported = async () =>
  sql<{ state: string }>(sandbox, 'order', `SELECT state FROM dtx_outbox WHERE id LIKE 'old-%'`);

test('step 4: the query names the rows that do not fit, and no other', async () => {
  await old('fits');
  await old('bad payload', '{"orderId":');
  await old('not:json', '{"orderId":');
  await old('a gid with spaces');
  expect(await misfitIds()).toEqual([{ id: 2 }, { id: 3 }, { id: 4 }]);
  await sql(sandbox, 'order', 'DELETE FROM outbox WHERE id > 1');
  expect(await misfitIds()).toEqual([]);
});

test('step 5: open rows are handled once, rows that were sent are not, and a second run moves nothing', async () => {
  await old('sent-before', undefined, true);
  await old('second');
  await runMove();
  await runMove();
  await until('the rows are handled', () => handled.length >= 2);
  await until('they are DONE or purged', async () => (await imported()).every(({ state }) => state === 'DONE'));
  expect(handled.toSorted()).toEqual(['fits', 'second']);
});

test('step 5 again: rows that a late writer has added are moved, too', async () => {
  await old('late');
  await runMove();
  await until('the row is handled', () => handled.includes('late'));
  expect(handled.toSorted()).toEqual(['fits', 'late', 'second']);
});

test('step 7: the queries show that nothing is left, and the retention removes the imported rows', async () => {
  const [openQuery, statesQuery] = statementsOf(left!);
  const [{ open }] = (await sql<{ open: number }>(sandbox, 'order', openQuery!)) as [{ open: number }];
  expect(Number(open)).toBe(0);
  await until('the imported rows are purged', async () => (await imported()).length === 0);
  expect(await sql(sandbox, 'order', statesQuery!)).toEqual([]);
});
