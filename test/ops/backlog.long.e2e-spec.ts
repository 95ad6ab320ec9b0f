import { afterAll, beforeAll, expect, test } from 'vitest';
import { Operator } from '../fixtures/operator.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { type Answer, call, Stack } from '../fixtures/stack.js';
import { statementsNow } from '../fixtures/statements-now.js';
import { until } from '../fixtures/until.js';

const APP: AppName = 'inventory';
let sandbox: Sandbox;
let shop: Stack;
let operator: Operator;

/** A million messages that wait for their consumers, and one that gave up. */
beforeAll(async () => {
  sandbox = await freshSandbox('operations_backlog', { audited: false });
  shop = new Stack(sandbox);
  await shop.start([APP]);
  operator = new Operator(shop, APP);
  await sql(
    sandbox,
    APP,
    `CREATE TABLE test_digit (d INT) AS ${Array.from({ length: 10 }, (_, d) => `SELECT ${d} d`).join(' UNION ')}`,
  );
  const number = ['a', 'b', 'c', 'd', 'e', 'f'].map((one, place) => `${one}.d * ${10 ** place}`).join(' + ');
  const digits = ['a', 'b', 'c', 'd', 'e', 'f'].map((one) => `test_digit ${one}`).join(' JOIN ');
  const columns = 'id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at, sent_at';
  const rest = `'{}', ',inventory.absent,'`;
  const later = 'UTC_TIMESTAMP(3) + INTERVAL 9 HOUR, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)';
  await sql(
    sandbox,
    APP,
    `INSERT INTO dtx_outbox (${columns}) SELECT CONCAT('m', LPAD(n, 35, '0')), 'g', 'order.placed', 1, ${rest}, 'SENT', ${later}
     FROM (SELECT ${number} AS n FROM ${digits}) AS numbers ORDER BY n`,
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
  const text = await until('the rows are counted', async () => {
    const { body } = await metrics();
    return /dtx_open_rows\{[^}]*state="SENT"\} 1000000$/m.test(String(body.text)) && String(body.text);
  });
  expect(text).toMatch(/dtx_open_rows\{[^}]*source="dtx_outbox",state="PARKED"\} 1$/m);
  const { body } = await answered(() => operator.get('/summary'));
  expect(JSON.stringify(body)).toContain('"states":{"PARKED":1,"SENT":1000000}');
});

test('each page of a list of a million open rows is answered', async () => {
  const parked = await answered(() => operator.get('/transactions?state=PARKED'));
  expect(parked.body.items).toHaveLength(1);
  const sent = await answered(() => operator.get('/transactions?state=SENT&limit=20'));
  expect(sent.body.items).toHaveLength(20);
  await answered(() => operator.get('/transactions?limit=20'));
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
