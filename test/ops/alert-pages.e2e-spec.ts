import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AlertView } from '../../libs/dtx/src/index.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { numbersBelow } from '../fixtures/number-sequence-sql.js';
import { Operator } from '../fixtures/operator.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';

const CLOSED = 250;
let sandbox: Sandbox;
let shop: Stack;
let operator: Operator;

beforeAll(async () => {
  sandbox = await freshSandbox('operations_alert_pages', { audited: false });
  shop = new Stack(sandbox);
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
