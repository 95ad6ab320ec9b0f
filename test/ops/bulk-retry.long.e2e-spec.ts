import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { numbersBelow } from '../fixtures/number-sequence-sql.js';
import { Operator } from '../fixtures/operator.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const ROWS = 30_000;
const PARKED = { scheme: 'local-message', state: 'PARKED' };
let sandbox: Sandbox;
let shop: Stack;
let operator: Operator;

/** Deliveries of a consumer that no instance serves, so a retried row stays as the retry has left it. */
beforeAll(async () => {
  sandbox = await freshSandbox('operations_bulk_retry', { audited: false });
  shop = new Stack(sandbox, { options: { core: { scanIntervalMs: 100 } } });
  await shop.start(['inventory']);
  operator = new Operator(shop, 'inventory');
  const numbers = numbersBelow(ROWS);
  const insert = (id: string, scheme: string, from: string) =>
    sql(
      sandbox,
      'inventory',
      `INSERT INTO dtx_inbox (id, message_id, consumer, gid, scheme, type, state, attempts, next_attempt_at, created_at, body)
       SELECT ${id}, ${id}, 'inventory.absent', 'g', '${scheme}', 'order.placed.v1', 'PARKED', 8, '9999-12-31', UTC_TIMESTAMP(3), 'x' FROM ${from}`,
    );
  await insert(`CONCAT('m', LPAD(n, 9, '0'))`, 'local-message', numbers);
  await insert(`CONCAT('other', n)`, 'xa', '(SELECT 1 AS n) AS one');
  await sql(
    sandbox,
    'inventory',
    `INSERT INTO dtx_alert (id, open_key, scheme, subject_id, step, state, opened_at)
     SELECT UUID(), CONCAT('local-message:m', LPAD(n, 9, '0')), 'local-message', CONCAT('m', LPAD(n, 9, '0')), 'handling', 'LOGGED', UTC_TIMESTAMP(3)
     FROM ${numbers}`,
  );
}, 180_000);

afterAll(() => shop?.stop());

const countOf = async (table: string, where: string) => {
  const [row] = await sql<{ n: number }>(sandbox, 'inventory', `SELECT COUNT(*) AS n FROM ${table} WHERE ${where}`);
  return Number(row!.n);
};
const progress = async () =>
  (await operator.get('/retry')).body.retry as { retried: number; endedAt: string | null } | null;

test('a retry of all answers 202 with the number of rows before it has retried them, and one runs at a time', async () => {
  expect(await progress()).toBeNull();
  const both = await Promise.all([1, 2].map(() => operator.post('/transactions/retry', PARKED)));
  const [started, refused] = both.sort((one, other) => one.status - other.status);
  expect(started).toMatchObject({ status: 202, body: { matching: ROWS } });
  expectProblem(refused!, 409);
  expect(await countOf('dtx_inbox', `state = 'PARKED'`)).toBeGreaterThan(ROWS / 2);
  const done = await until(
    'it is over',
    async () => {
      const now = await progress();
      return now?.endedAt ? now : false;
    },
    { withinMs: 90_000 },
  );
  expect(done).toMatchObject({ ...PARKED, matching: ROWS, retried: ROWS, error: null });
  expect(
    await countOf('dtx_inbox', `state = 'RETRYING' AND attempts = 0 AND next_attempt_at <= UTC_TIMESTAMP(3)`),
  ).toBe(ROWS);
  expect(await countOf('dtx_inbox', `state = 'PARKED' AND scheme = 'xa'`)).toBe(1);
});

test('a retry of all closes the alert of each row and records the operator', async () => {
  expect(await countOf('dtx_alert', 'closed_at IS NULL')).toBe(0);
  expect(await countOf('dtx_operation', `action = 'retry' AND scheme = 'local-message'`)).toBe(ROWS);
  expect((await operator.post('/transactions/retry', PARKED)).body).toEqual({ matching: 0 });
});

test('a batch leaves out a row that another transaction has locked, and the next batch goes on', async () => {
  await sql(sandbox, 'inventory', `UPDATE dtx_inbox SET state = 'PARKED', next_attempt_at = '9999-12-31'`);
  await until('the last one is over', async () => (await progress())?.endedAt);
  const hold = await createConnection({ uri: sandbox.databases.inventory });
  try {
    await hold.beginTransaction();
    await hold.query(`SELECT id FROM dtx_inbox WHERE id = 'm000029990' FOR UPDATE`);
    expect((await operator.post('/transactions/retry', PARKED)).status).toBe(202);
    await until('it is over', async () => (await progress())?.endedAt, { withinMs: 90_000 });
  } finally {
    await hold.end();
  }
  expect(await progress()).toMatchObject({ matching: ROWS, retried: ROWS - 1, error: null });
  expect(await countOf('dtx_inbox', `state = 'PARKED' AND scheme = 'local-message'`)).toBe(1);
});
