// A process dies inside a transaction that several messages or calls share. None of them may be lost or done twice.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SHORT_TIMES } from '../crash-matrix/short-times.js';
import { AllSchemes } from '../fixtures/all-scheme-callers.js';
import { expectAuditClean, untilSettled } from '../fixtures/purchase-checks.js';
import { openShop } from '../fixtures/purchase-load.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';

/** Each unit of a shared transaction stands for this time behind its row, in milliseconds. */
const DELAY_MS = 40;
/** A unit of its own has one row there. */
const SHARED_ROWS = 4;
let sandbox: Sandbox;
let shop: Stack;

beforeAll(async () => {
  sandbox = await freshSandbox('killed_in_shared');
  shop = new Stack(sandbox, { options: SHORT_TIMES });
  await shop.start();
  await openShop(shop);
});

afterAll(() => shop?.stop());

/** The rows of the largest open transaction of the inventory database. */
async function largestTransaction(): Promise<number> {
  const query = 'SELECT COALESCE(MAX(trx_rows_modified), 0) AS n FROM information_schema.INNODB_TRX';
  return Number((await sql<{ n: number }>(sandbox, 'inventory', query))[0]!.n);
}

test.each(['local-message.inserted', 'tcc.try-inserted', 'saga.do-inserted'])(
  'a kill at %s inside a shared transaction loses nothing and doubles nothing',
  async (point) => {
    await shop.of('inventory').kill();
    const [dying] = await shop.start(['inventory'], { failpoints: `${point}=delay(${DELAY_MS})` });
    const callers = new AllSchemes(shop, { name: point.replace('.', '-'), callers: 8, restMs: 0 });
    await until(
      'a transaction has the rows of several units',
      async () => (await largestTransaction()) >= SHARED_ROWS,
      { withinMs: 60_000, everyMs: 5 },
    );
    await dying!.kill();
    await shop.start(['inventory']);
    await callers.untilTold(4);
    await callers.stop();
    await untilSettled(shop);
    expect(await callers.falseAnswers(sandbox)).toEqual([]);
    await expectAuditClean(shop);
  },
);
