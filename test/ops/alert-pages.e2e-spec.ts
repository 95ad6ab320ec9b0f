import { afterAll, beforeAll, expect, test } from 'vitest';
import { newId } from '../../libs/dtx/src/core/ids.js';
import type { AlertView } from '../../libs/dtx/src/index.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { numbersBelow } from '../fixtures/number-sequence-sql.js';
import { Operator } from '../fixtures/operator.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const DAY_MS = 86_400_000;
const CLOSED = 250;
let sandbox: Sandbox;
let shop: Stack;
let operator: Operator;

beforeAll(async () => {
  sandbox = await freshSandbox('operations_alert_pages', { audited: false });
  shop = new Stack(sandbox, { options: { core: { purgeIntervalMs: 100 } } });
  await shop.start(['inventory']);
  operator = new Operator(shop, 'inventory');
  const columns = 'id, open_key, scheme, subject_id, step, state, opened_at, closed_at';
  const numbers = numbersBelow(CLOSED + 3);
  // The three oldest are open.
  await sql(
    sandbox,
    'inventory',
    `INSERT INTO dtx_alert (${columns})
     SELECT CONCAT('a', LPAD(n, 9, '0')), IF(n < 3, CONCAT('xa:s', n), NULL), 'xa', CONCAT('s', n), 'step', 'LOGGED', UTC_TIMESTAMP(3), IF(n < 3, NULL, UTC_TIMESTAMP(3))
     FROM ${numbers}`,
  );
});

afterAll(() => shop?.stop());

/** The subjects of all pages. */
async function walk(query: string): Promise<string[]> {
  const seen: string[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { status, body } = await operator.get(`/alerts?${query}${cursor && `&cursor=${cursor}`}`);
    expect(status).toBe(200);
    seen.push(...(body.items as AlertView[]).map(({ subject }) => subject));
    cursor = body.nextCursor as string | null;
  }
  return seen;
}

test('pages of all alerts neither skip nor repeat, newest first', async () => {
  const all = Array.from({ length: CLOSED + 3 }, (_, n) => `s${CLOSED + 2 - n}`);
  expect(await walk('limit=100')).toEqual(all);
  expect(await walk('open=false&limit=100')).toEqual(all);
});

test('open=true lists the open alerts only, also below many closed ones', async () => {
  expect(await walk('open=true')).toEqual(['s2', 's1', 's0']);
  expect(await walk('open=true&limit=1')).toEqual(['s2', 's1', 's0']);
});

test.each(['open=1', 'open=', 'cursor=!', 'limit=101', 'state=open'])(
  'GET /dtx/alerts?%s answers 400',
  async (query) => {
    expectProblem(await operator.get(`/alerts?${query}`), 400);
  },
);

test('closed alerts and records of retries go after their retention, and open alerts and resolutions stay', async () => {
  const ago = (days: number) => `UTC_TIMESTAMP(3) - INTERVAL ${days} DAY`;
  const alert = (id: string, opened: number, closed: number | null) =>
    sql(
      sandbox,
      'inventory',
      `INSERT INTO dtx_alert (id, open_key, scheme, subject_id, step, state, opened_at, closed_at)
       VALUES (?, ?, 'xa', ?, 'step', 'LOGGED', ${ago(opened)}, ${closed === null ? 'NULL' : ago(closed)})`,
      [id, closed === null ? `xa:${id}` : null, id],
    );
  const operation = (id: string, action: string, days: number) =>
    sql(
      sandbox,
      'inventory',
      `INSERT INTO dtx_operation (id, scheme, subject_id, action, at) VALUES (?, 'xa', ?, ?, ${ago(days)})`,
      [newId(Date.now() - days * DAY_MS), id, action],
    );
  await alert('open', 400, null);
  await alert('closed-late', 400, 1);
  await alert('over', 400, 91);
  await operation('resolved', 'done', 400);
  await operation('rejected', 'reject', 400);
  await operation('young', 'retry', 1);
  await operation('old', 'retry', 91);
  await operation('old', 'acknowledge', 91);
  const left = async () =>
    [
      ...(await sql<{ id: string }>(
        sandbox,
        'inventory',
        `SELECT id FROM dtx_alert WHERE id NOT LIKE 'a0%' ORDER BY id`,
      )),
      ...(await sql<{ id: string }>(
        sandbox,
        'inventory',
        'SELECT subject_id AS id FROM dtx_operation ORDER BY subject_id',
      )),
    ].map(({ id }) => id);
  const kept = ['closed-late', 'open', 'rejected', 'resolved', 'young'];
  await until('the old ones are purged', async () => String(await left()) === String(kept));
});

test('lists of rows with large bodies read no body', async () => {
  const BODY = 1_000_000;
  await sql(
    sandbox,
    'inventory',
    `INSERT INTO dtx_inbox (id, message_id, consumer, gid, scheme, type, state, next_attempt_at, created_at, body)
     SELECT CONCAT('large', n), CONCAT('large', n), 'inventory.absent', 'g', 'xa', 'order.placed.v1', 'PARKED', '9999-12-31', UTC_TIMESTAMP(3), REPEAT('x', ${BODY})
     FROM ${numbersBelow(50)}`,
  );
  const sent = async () =>
    Number((await sql<{ Value: string }>(sandbox, 'inventory', `SHOW GLOBAL STATUS LIKE 'Bytes_sent'`))[0]!.Value);
  const queries = ['?state=PARKED&limit=100', '?scheme=xa&limit=100', '?limit=100', '/large1'];
  for (const query of queries) {
    let fewest = Number.POSITIVE_INFINITY;
    // Other spec files use the server too.
    for (let n = 0; n < 10 && fewest > BODY; n++) {
      const before = await sent();
      expect((await operator.get(`/transactions${query}`)).status).toBe(200);
      fewest = Math.min(fewest, (await sent()) - before);
    }
    expect([query, fewest < BODY]).toEqual([query, true]);
  }
});
