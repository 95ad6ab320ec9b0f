import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Operator } from '../fixtures/operator.js';
import { statementsNow } from '../fixtures/running-statements.js';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { TcpProxy } from '../fixtures/tcp-proxy.js';
import { type Answer, call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

const CALLERS = 50;
const FLOOD_MS = 4_000;
/** So long that the first test sees one count of each table, however long it takes. */
const COUNTS_FRESH_MS = 600_000;
/** A probe that waited for a count would take longer still. A busy machine delays it by seconds. */
const PROBE_LIMIT_MS = 10_000;
/** Each table is counted once for the metrics and once for the summary. The rest is room for statements of other loops. */
const ROUNDS_MAX = 4;
/** How a count begins, as it is sent to the server. */
const COUNT = /AS scheme, state, COUNT\(\*\)/g;

let sandbox: Sandbox;
let proxy: TcpProxy;
let shop: Stack;
let counts = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('operations_flood', { audited: false });
  proxy = await TcpProxy.start(sandbox.databases.inventory);
  proxy.onBytes('to-server', (chunk) => {
    counts += chunk.toString('latin1').match(COUNT)?.length ?? 0;
  });
  shop = new Stack(sandbox, { env: { DTX_DATABASE_URL: proxy.url } });
  await shop.start(['inventory'], {
    options: { ops: { countsFreshMs: COUNTS_FRESH_MS, probeLimitMs: PROBE_LIMIT_MS } },
  });
  await shop.stock('book', 1);
});

afterAll(async () => {
  await shop?.stop();
  await proxy?.close();
});

const metrics = () => call(`${shop.of('inventory').url}/metrics`);

interface Flood {
  answers: Answer[];
  ready: number[];
}

/** So many callers, each of which asks again as soon as it is answered, and one that looks whether the app is ready. */
async function flood(ask: () => Promise<Answer>): Promise<Flood> {
  const seen: Flood = { answers: [], ready: [] };
  const end = performance.now() + FLOOD_MS;
  const caller = async () => {
    while (performance.now() < end) {
      seen.answers.push(await ask());
      await sleep(20);
    }
  };
  const looker = async () => {
    for (; performance.now() < end; await sleep(200))
      seen.ready.push((await call(`${shop.of('inventory').url}/health/ready`)).status);
  };
  await Promise.all([looker(), ...Array.from({ length: CALLERS }, caller)]);
  return seen;
}

test(`${CALLERS} callers who ask for the figures again and again have each table counted a few times, and the app stays ready`, async () => {
  const { body } = await new Operator(shop, 'inventory').get('/summary');
  const tables = new Set((body.schemes as Array<{ source: string }>).map(({ source }) => source));
  counts = 0;
  const { answers, ready } = await flood(metrics);
  const summaries = await flood(() => shop.get('inventory', '/dtx/summary'));
  expect(answers.length).toBeGreaterThan(CALLERS);
  expect([...answers, ...summaries.answers].filter(({ status }) => status !== 200)).toEqual([]);
  expect([...ready, ...summaries.ready].filter((status) => status !== 200)).toEqual([]);
  expect(tables.size).toBeGreaterThan(0);
  expect(counts).toBeLessThanOrEqual(ROUNDS_MAX * tables.size);
});

test('the app stays ready and shows the last figures with their age while a table cannot be counted', async () => {
  await shop.of('inventory').stop();
  await shop.start(['inventory'], { options: { ops: { probeLimitMs: PROBE_LIMIT_MS } } });
  await until('the tables were counted', async () =>
    /dtx_open_rows_age_seconds/.test(String((await metrics()).body.text)),
  );
  const locker = await createConnection(sandbox.databases.inventory);
  try {
    await locker.query('LOCK TABLES dtx_tcc WRITE');
    // An answer that waited for the lock would never come.
    const { answers, ready } = await flood(metrics);
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    expect(ready.filter((status) => status !== 200)).toEqual([]);
    const ageOf = (text: string) => Number(/^dtx_open_rows_age_seconds\{source="dtx_tcc"\} (\S+)$/m.exec(text)?.[1]);
    const text = await until('the figures of the locked table are old', async () => {
      const now = String((await metrics()).body.text);
      return ageOf(now) > 3 && now;
    });
    expect(text).toMatch(/^dtx_last_scan_seconds\{loop="dtx_inbox"\} /m);
    expect(await statementsNow(sandbox, 'inventory', '%COUNT(*)%')).toBeLessThan(2);
  } finally {
    await locker.end();
  }
  await until('the figures are new again', async () => {
    const { body } = await metrics();
    return Number(/^dtx_open_rows_age_seconds\{source="dtx_tcc"\} (\S+)$/m.exec(String(body.text))?.[1]) < 3;
  });
});
