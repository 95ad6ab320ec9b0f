import { afterAll, beforeAll, expect, test } from 'vitest';
import { numbersBelow } from '../fixtures/number-sequence-sql.js';
import { Operator } from '../fixtures/operator.js';
import { rowsRead } from '../fixtures/rows-read.js';
import { statementsNow } from '../fixtures/running-statements.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Answer, call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const APP: AppName = 'inventory';
/** A page searches at most a stretch of 5,000 index entries in each table. */
const READS_MAX = 50_000;
let sandbox: Sandbox;
let shop: Stack;
let operator: Operator;

/** A million messages that wait for their consumers, one that gave up, and a million deliveries that gave up. */
beforeAll(async () => {
  sandbox = await freshSandbox('operations_backlog', { audited: false });
  shop = new Stack(sandbox);
  await shop.start([APP]);
  operator = new Operator(shop, APP);
  const numbers = numbersBelow(1_000_000);
  const columns = 'id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at, sent_at';
  const rest = `'{}', ',inventory.absent,'`;
  const later = 'UTC_TIMESTAMP(3) + INTERVAL 9 HOUR, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)';
  await sql(
    sandbox,
    APP,
    `INSERT INTO dtx_outbox (${columns}) SELECT CONCAT('m', LPAD(n, 35, '0')), 'g', 'order.placed', 1, ${rest}, 'SENT', ${later}
     FROM ${numbers}`,
  );
  await sql(
    sandbox,
    APP,
    `INSERT INTO dtx_inbox (id, message_id, consumer, gid, scheme, type, state, attempts, next_attempt_at, created_at)
     SELECT CONCAT('m', LPAD(n, 9, '0'), '.inventory.take-stock'), CONCAT('m', LPAD(n, 9, '0')), 'inventory.take-stock', 'g',
       'local-message', 'order.placed.v1', 'PARKED', 8, '9999-12-31', UTC_TIMESTAMP(3) FROM ${numbers}`,
  );
  await sql(
    sandbox,
    APP,
    `INSERT INTO dtx_outbox (${columns}) VALUES (CONCAT('m', REPEAT('5', 35)), 'g', 'order.placed', 1, ${rest}, 'PARKED', '9999-12-31', UTC_TIMESTAMP(3), NULL)`,
  );
}, 300_000);

afterAll(() => shop?.stop());

async function answered(ask: () => Promise<Answer>): Promise<Answer> {
  const answer = await ask(); // `call` has a time limit
  expect(answer.status).toBe(200);
  return answer;
}

test('the metrics and the summary show the count of a million open rows', async () => {
  const metrics = () => answered(() => call(`${shop.of(APP).url}/metrics`));
  // A count may have begun before the last row was there.
  await until(
    'the rows are counted',
    async () => {
      const text = String((await metrics()).body.text);
      const has = (state: string, count: number) =>
        new RegExp(`dtx_open_rows\\{[^}]*source="dtx_outbox",state="${state}"\\} ${count}$`, 'm').test(text);
      return has('SENT', 1_000_000) && has('PARKED', 1);
    },
    { withinMs: 90_000 },
  );
  const { body } = await answered(() => operator.get('/summary'));
  expect(JSON.stringify(body)).toContain('"states":{"PARKED":1,"SENT":1000000}');
});

/** Rows that the server reads for one call. Other spec files use it too, so the fewest of several calls counts. */
async function rowsReadBy(ask: () => Promise<Answer>): Promise<number> {
  let fewest = Number.POSITIVE_INFINITY;
  for (let n = 0; n < 20 && fewest >= READS_MAX; n++) {
    const before = await rowsRead(sandbox, APP);
    await answered(ask);
    fewest = Math.min(fewest, (await rowsRead(sandbox, APP)) - before);
  }
  return fewest;
}

test.each([
  ['?state=SENT&limit=20', 20],
  ['?state=PARKED&scheme=local-message&limit=100', 100],
  ['?state=PARKED&scheme=tcc', 0],
  ['?state=PARKED&limit=100', 100],
  ['?state=PENDING', 0],
  ['?state=RETRYING', 0],
  ['?limit=20', 20],
])('a page of %s with a million open rows in two tables reads few rows', async (query, length) => {
  const { body } = await answered(() => operator.get(`/transactions${query}`));
  expect(body.items).toHaveLength(length);
  expect(await rowsReadBy(() => operator.get(`/transactions${query}`))).toBeLessThan(READS_MAX);
  const cursor = Buffer.from(`m${'5'.repeat(35)}`).toString('base64url');
  expect(
    await rowsReadBy(() => operator.get(`/transactions${query}${query.includes('?') ? '&' : '?'}cursor=${cursor}`)),
  ).toBeLessThan(READS_MAX);
});

test('the server ends a count that takes too long, and the connections of the recovery stay usable', async () => {
  const limits = { countLimitMs: 1, countsFreshMs: 100 };
  const [instance] = await shop.start([APP], { options: { ops: limits } });
  for (let n = 0; n < 20; n++) {
    expect((await call(`${instance!.url}/metrics`)).status).toBe(200);
    expect((await call(`${instance!.url}/health/ready`)).status).toBe(200);
  }
  const running = () => statementsNow(sandbox, APP, '%COUNT(*)%');
  await until('no count runs on', async () => (await running()) === 0, { withinMs: 5_000 });
});
