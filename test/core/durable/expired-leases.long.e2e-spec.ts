import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { AppProcess } from '../../fixtures/app-process.js';
import { breakableStock } from '../../fixtures/failing-table.js';
import { expectAuditClean, expectToldTruth, untilSettled } from '../../fixtures/purchase-checks.js';
import { Load, openShop, untilBought } from '../../fixtures/purchase-load.js';
import { statementsNow } from '../../fixtures/running-statements.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { Stack } from '../../fixtures/three-apps.js';
import { until } from '../../fixtures/until.js';

const LEASE_MS = 300;
const HELD_MS = 2_000;
const SKU = 'item-0777';
const BODY = { buyerId: 'buyer-0', sku: SKU, quantity: 1 };

let sandbox: Sandbox;
let shop: Stack;
let stock: Awaited<ReturnType<typeof breakableStock>>;
/** Two instances of order: the one that takes the purchases, and one that notes whenever its scan has claimed a row. */
let busy: AppProcess;
let watching: AppProcess;

beforeAll(async () => {
  sandbox = await freshSandbox('outage_leases');
  const inbox = { attemptsMax: 100, backoff: { firstMs: 200, factor: 1, capMs: 200 } };
  shop = new Stack(sandbox, {
    options: { core: { leaseMs: LEASE_MS, scanIntervalMs: 100, lockWaitSeconds: 10, inbox } },
  });
  const [busyOrder, watchingOrder] = await Promise.all([
    shop.start(['order']),
    shop.start(['order'], { failpoints: 'local-message.claimed=delay(1)' }),
    shop.start(['inventory', 'inventory', 'payment']),
  ]);
  [busy, watching] = [busyOrder[0]!, watchingOrder[0]!];
  await openShop(shop);
  await shop.stock(SKU, 1_000);
  stock = await breakableStock(sandbox);
});

afterAll(() => shop?.stop());

async function one<Row>(app: AppName, query: string, values: unknown[] = []): Promise<Row> {
  const rows = await sql<Row>(sandbox, app, query, values);
  expect(rows).toHaveLength(1);
  return rows[0]!;
}

/** Keeps everybody from changing this stock until it is let go, or the test has failed. */
async function holdStock() {
  const connection = await createConnection(sandbox.databases.inventory);
  onTestFinished(() => connection.destroy());
  await connection.beginTransaction();
  await connection.query('SELECT available FROM stock WHERE sku = ? FOR UPDATE', [SKU]);
  const since = performance.now();
  return {
    untilHeldLong: () => until('the row was held long', () => performance.now() - since > HELD_MS),
    letGo: () => connection.rollback(),
  };
}

/** Handlers that wait for the row now. */
const waitingHandlers = () => statementsNow(sandbox, 'inventory', `UPDATE stock %${SKU}%`);

const takes = (orderId: string) =>
  sql(sandbox, 'inventory', 'SELECT state, times FROM stock_take WHERE order_id = ?', [orderId]);

describe('a handler that takes longer than its time', () => {
  test('a handler that outlasts the lease of its held delivery is not begun by another instance and has one effect', async () => {
    await stock.break(SKU);
    const { orderId } = await shop.order(BODY);
    const held = () =>
      one<{ state: string; overdueMs: string }>(
        'inventory',
        `SELECT state, TIMESTAMPDIFF(MICROSECOND, next_attempt_at, UTC_TIMESTAMP(3)) / 1000 AS overdueMs
         FROM dtx_inbox WHERE gid = ?`,
        [orderId],
      );
    await until('the delivery is held', async () => (await held()).state === 'RETRYING');
    const lock = await holdStock();
    await stock.repair(SKU);
    await until('its handler waits for the row', async () => (await waitingHandlers()) === 1);
    await lock.untilHeldLong();
    // The lease is long over, and both instances have looked for due rows many times since.
    const overdue = await until('its lease is over', async () => {
      const { state, overdueMs } = await held();
      return state === 'RETRYING' && Number(overdueMs) > 3 * LEASE_MS && Number(overdueMs);
    });
    expect(await waitingHandlers()).toBe(1);
    await lock.letGo();
    expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
    expect(await takes(orderId)).toEqual([{ state: 'TAKEN', times: 1 }]);
    console.log(`the lease was over for ${Math.round(overdue)} ms while its handler ran`);
  });

  test('duplicates wait for a handler that outlasts its sender’s resend, and it has one effect', async () => {
    const lock = await holdStock();
    const { orderId } = await shop.order(BODY);
    await until('its handler waits for the row', async () => (await waitingHandlers()) === 1);
    const row = () =>
      one<{ id: string; attempts: number }>(
        'order',
        `SELECT id, attempts FROM dtx_outbox WHERE gid = ? AND contract = 'order.placed'`,
        [orderId],
      );
    const { id } = await row();
    for (let copies = 1; copies <= 4; copies++) {
      await until('it was sent', async () => (await row()).attempts > 0);
      expect((await shop.send('order', 'POST', `/dtx/transactions/${id}/retry`, {})).status).toBe(200);
    }
    await until('it was sent again', async () => (await row()).attempts > 0);
    await lock.untilHeldLong();
    expect(await waitingHandlers()).toBe(1);
    await lock.letGo();
    expect(await shop.settled(orderId)).toMatchObject({ status: 'CONFIRMED' });
    expect(await takes(orderId)).toEqual([{ state: 'TAKEN', times: 1 }]);
  });
});

/** Stops the busy instance in the middle of its work until the other has claimed rows of it, then lets it go on. */
async function pausePastLease(): Promise<number> {
  const before = watching.hits().length;
  busy.signal('SIGSTOP');
  try {
    const claimed = () => watching.hits().length - before;
    await until('rows of the paused instance are claimed', () => claimed() > 0, { withinMs: 3_000 }).catch(() => {});
    return claimed();
  } finally {
    busy.signal('SIGCONT');
  }
}

test('a relay that was paused past its lease changes nothing when it continues', async () => {
  const load = new Load({ name: 'paused', urls: () => [busy.url], callers: 16 });
  let taken = 0;
  let pauses = 0;
  await until(
    'enough rows changed hands',
    async () => {
      await untilBought(load, 30);
      pauses++;
      taken += await pausePastLease();
      return taken >= 5 && pauses >= 3;
    },
    { withinMs: 60_000 },
  );
  await load.stop();
  await untilSettled(shop);
  await expectToldTruth(shop, load);
  const ids = load.orderIds;
  // A fenced-out claim has counted nothing: SENT was marked once, by the last claim, or the receipt came first.
  const rows = await sql<{ attempts: number; token: string | null; due: Date | null }>(
    sandbox,
    'order',
    'SELECT DISTINCT attempts, claim_token AS token, next_attempt_at AS due FROM dtx_outbox WHERE gid IN (?)',
    [ids],
  );
  for (const { attempts, token, due } of rows) expect([attempts <= 1, token, due]).toEqual([true, null, null]);
  console.log(`${pauses} pauses, ${taken} rows were taken over, ${ids.length} purchases`);
  expect(busy.exited).toBe(false);
}, 120_000);

test('every invariant holds after the tests', () => expectAuditClean(shop));
