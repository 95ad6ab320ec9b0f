// A process dies inside a transaction that several messages or calls share. None of them may be lost or done twice.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import { AllSchemes } from '../fixtures/all-scheme-callers.js';
import { expectAuditClean, untilSettled } from '../fixtures/purchase-checks.js';
import { openShop } from '../fixtures/purchase-load.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

/** Each unit of a shared transaction stands for this time behind its row, in milliseconds. */
const DELAY_MS = 40;
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('killed_in_shared');
  shop = new Stack(sandbox, { options: SHORT_TIMES });
  await shop.start();
  await openShop(shop);
});

afterAll(() => shop?.stop());

/** The rows of the largest open transaction of a database. */
async function largestTransaction(app: AppName): Promise<number> {
  const query = 'SELECT COALESCE(MAX(trx_rows_modified), 0) AS n FROM information_schema.INNODB_TRX';
  return Number((await sql<{ n: number }>(sandbox, app, query))[0]!.n);
}

test.each([
  ['inventory', 'local-message.inserted', 4],
  ['inventory', 'tcc.try-inserted', 4],
  ['inventory', 'saga.do-inserted', 4],
  // Work of half messages, and calls of `POST /orders`. A transaction of one has up to five rows.
  ['inventory', 'half-message.opened', 8],
  ['order', 'local-message.appended', 8],
] as const)(
  'a kill of %s at %s inside a shared transaction loses nothing and doubles nothing',
  async (app, point, rowsOfSeveral) => {
    await shop.of(app).kill();
    const [dying] = await shop.start([app], { failpoints: `${point}=delay(${DELAY_MS})` });
    const callers = new AllSchemes(shop, { name: point.replace('.', '-'), callers: 8, restMs: 0 });
    await until(
      'a transaction has the rows of several units',
      async () => (await largestTransaction(app)) >= rowsOfSeveral,
      { withinMs: 60_000, everyMs: 5 },
    );
    await dying!.kill();
    await shop.start([app]);
    await callers.untilTold(4);
    await callers.stop();
    await untilSettled(shop);
    expect(await callers.falseAnswers(sandbox)).toEqual([]);
    await expectAuditClean(shop);
  },
);
