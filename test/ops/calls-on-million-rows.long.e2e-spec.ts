import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectProblem } from '../fixtures/expect-problem.js';
import { Operator } from '../fixtures/operator.js';
import { rowsRead } from '../fixtures/rows-read.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Answer, call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const ROWS = 1_000_000;
/** Far below a read of the table, with room for what other spec files read on the same server meanwhile. */
const READS_MAX = ROWS / 10;
const PARKED = 'order.placed.parked-one.inventory.take-stock';
let sandbox: Sandbox;
let shop: Stack;
let inventory: Operator;

/** A million finished deliveries, and ten that gave up, of which one is not like the others. */
beforeAll(async () => {
  sandbox = await freshSandbox('operations_scale', { audited: false });
  shop = new Stack(sandbox);
  await shop.start(['inventory']);
  await sql(
    sandbox,
    'inventory',
    'CREATE TABLE test_digit (d INT) AS SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9',
  );
  const columns = 'id, message_id, consumer, gid, scheme, type, state, next_attempt_at, created_at, settled_at, body';
  const number = ['a', 'b', 'c', 'd', 'e', 'f'].map((one, place) => `${one}.d * ${10 ** place}`).join(' + ');
  const digits = ['a', 'b', 'c', 'd', 'e', 'f'].map((one) => `test_digit ${one}`).join(' JOIN ');
  await sql(
    sandbox,
    'inventory',
    `INSERT INTO dtx_inbox (${columns})
     SELECT CONCAT('m', LPAD(n, 9, '0'), '.inventory.take-stock'), CONCAT('m', LPAD(n, 9, '0')), 'inventory.take-stock',
       CONCAT('g', n), 'local-message', 'order.placed.v1', 'HANDLED', NULL, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), NULL
     FROM (SELECT ${number} AS n FROM ${digits}) AS numbers ORDER BY n`,
  );
  await sql(
    sandbox,
    'inventory',
    `INSERT INTO dtx_inbox (${columns}) VALUES
     (?, 'parked-one', 'inventory.take-stock', 'g', 'half-message', 'order.placed.v1', 'PARKED', '9999-12-31', UTC_TIMESTAMP(3), NULL, 'x')`,
    [PARKED],
  );
  inventory = new Operator(shop, 'inventory');
}, 180_000);

afterAll(() => shop?.stop());

/** Asks until a call has read few rows. The server counts for all, so one call may coincide with a large read of others. */
async function readsFewRows(ask: () => Promise<Answer>): Promise<Answer> {
  let fewest = Number.POSITIVE_INFINITY;
  let answer!: Answer;
  for (let n = 0; n < 20 && fewest >= READS_MAX; n++) {
    const before = await rowsRead(sandbox, 'inventory');
    answer = await ask();
    fewest = Math.min(fewest, (await rowsRead(sandbox, 'inventory')) - before);
  }
  expect(fewest).toBeLessThan(READS_MAX);
  return answer;
}

describe(`with ${ROWS} finished rows a call reads fewer than ${READS_MAX} rows`, () => {
  test('the table holds that many rows', async () => {
    const [{ n }] = (await sql<{ n: number }>(sandbox, 'inventory', 'SELECT COUNT(*) AS n FROM dtx_inbox')) as [
      { n: number },
    ];
    expect(Number(n)).toBe(ROWS + 1);
  });

  test.each([
    '?limit=100',
    '?state=HANDLED&limit=100',
    '?scheme=local-message&limit=100',
    '?state=PARKED',
    '?state=RETRYING',
    '?state=DONE',
    '?state=nonsense&scheme=nonsense',
    '?scheme=half-message',
    '?scheme=tcc',
    '?scheme=half-message&state=HANDLED',
  ])('GET /dtx/transactions%s reads few rows, at the first page and at one from the middle', async (query) => {
    await readsFewRows(() => inventory.get(`/transactions${query}`));
    const cursor = Buffer.from('m000500000.inventory.take-stock').toString('base64url');
    const { status } = await readsFewRows(() => inventory.get(`/transactions${query}&cursor=${cursor}`));
    expect(status).toBe(200);
  });

  test('one transaction, its timeline, the summary, alerts and metrics read few rows', async () => {
    expect((await readsFewRows(() => inventory.get('/transactions/m000777777.inventory.take-stock'))).body.state).toBe(
      'HANDLED',
    );
    expectProblem(await readsFewRows(() => inventory.get('/transactions/unknown')), 404);
    // The figures are those of the last count, which may be older than the rows.
    await until('the summary has counted the rows', async () => {
      const { body } = await readsFewRows(() => inventory.get('/summary'));
      return JSON.stringify(body).includes('"parked":1');
    });
    await readsFewRows(() => inventory.get('/alerts'));
    await readsFewRows(() => call(`${shop.of('inventory').url}/metrics`));
  });

  test('a trace, a payload, the topology and the history read few rows', async () => {
    const { body } = await readsFewRows(() => inventory.get('/traces/g777777'));
    expect(body.rows).toMatchObject([{ source: 'dtx_inbox', state: 'HANDLED' }]);
    expect((await readsFewRows(() => inventory.get('/traces/unknown'))).body.rows).toEqual([]);
    for (const path of [`/transactions/${PARKED}/payload`, '/topology', '/history'])
      expect((await readsFewRows(() => inventory.get(path))).status).toBe(200);
  });

  test('retry and resolve read few rows', async () => {
    await readsFewRows(() => inventory.post('/transactions/retry', { scheme: 'local-message', state: 'PARKED' }));
    expectProblem(await readsFewRows(() => inventory.retry('m000000001.inventory.take-stock')), 409);
    await readsFewRows(() => inventory.resolve(PARKED, 'done'));
    expectProblem(await inventory.resolve(PARKED, 'done'), 409);
  });
});

test('a rare row is found page by page, with no row skipped and none twice', async () => {
  await sql(
    sandbox,
    'inventory',
    `UPDATE dtx_inbox SET scheme = 'tcc' WHERE id IN ('m000000003.inventory.take-stock', 'm000500000.inventory.take-stock', 'm000999999.inventory.take-stock')`,
  );
  const seen: string[] = [];
  let pages = 0;
  for (let cursor: string | null = ''; cursor !== null; pages++) {
    const { body } = await inventory.get(`/transactions?scheme=tcc&limit=2${cursor && `&cursor=${cursor}`}`);
    seen.push(...(body.items as Array<{ id: string }>).map(({ id }) => id));
    cursor = body.nextCursor as string | null;
  }
  expect(seen.map((id) => id.slice(0, 10))).toEqual(['m000999999', 'm000500000', 'm000000003']);
  expect(pages).toBeGreaterThan(50);
});

test('a retry of all rows retries each once, also when every row gives up again at once', async () => {
  const hopeless = 700;
  const columns = 'id, message_id, consumer, gid, scheme, type, state, next_attempt_at, created_at, body';
  await sql(
    sandbox,
    'inventory',
    `INSERT INTO dtx_inbox (${columns})
     SELECT CONCAT('hopeless', n, '.inventory.take-stock'), CONCAT('hopeless', n), 'inventory.take-stock', 'g', 'xa', 'order.placed.v1', 'PARKED', '9999-12-31',
       UTC_TIMESTAMP(3), 'x' FROM (SELECT a.d + 10 * b.d + 100 * c.d AS n FROM test_digit a JOIN test_digit b JOIN test_digit c) AS numbers
     WHERE n < ${hopeless}`,
  );
  const { body } = await inventory.post('/transactions/retry', { scheme: 'xa', state: 'PARKED' });
  expect(body).toEqual({ matching: hopeless });
  const ended = await until('the retry is over', async () => {
    const { retry } = (await inventory.get('/retry')).body as {
      retry: { retried: number; endedAt: string | null };
    };
    return retry.endedAt !== null && retry;
  });
  expect(ended).toMatchObject({ retried: hopeless, error: null });
  const again = `SELECT COUNT(*) AS n FROM dtx_inbox WHERE scheme = 'xa' AND state = 'PARKED' AND next_attempt_at IS NOT NULL`;
  await until('all have given up again', async () => {
    const [row] = await sql<{ n: number }>(sandbox, 'inventory', again);
    return Number(row!.n) === hopeless;
  });
});
