import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newId } from '../../../libs/dtx/src/core/ids.js';
import { brokerCounts } from '../../fixtures/broker-delivery-counts.js';
import { breakableStock } from '../../fixtures/failing-table.js';
import { propertiesOf, TestPublisher } from '../../fixtures/outbox-message-copies.js';
import { expectAuditClean, expectToldTruth, untilSettled } from '../../fixtures/purchase-checks.js';
import { Load, openShop } from '../../fixtures/purchase-load.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { type Purchase, Stack } from '../../fixtures/three-apps.js';
import { until } from '../../fixtures/until.js';

const CONSUMER = 'inventory.take-stock';
const SKU = 'mug';
const DAY_MS = 86_400_000;
/** They take a tenth of the time in which the bad ones are tried, on an idle machine. */
const GOOD = 50;
/** More than a consumer's prefetch: if each kept its place while it is tried again, nothing else would get through. */
const THROWING = 40;
const OF_EACH_KIND = 5;
const TRIES = 3;
const TRY_AGAIN_MS = 15_000;
/** Of one processor. A busy loop takes all of it. */
const CPU_SHARE_MAX = 0.5;
/** Of one message. A sender that does not stop has more after a few minutes. */
const RESENDS_MAX = 100;

let sandbox: Sandbox;
let shop: Stack;
let stock: Awaited<ReturnType<typeof breakableStock>>;

beforeAll(async () => {
  sandbox = await freshSandbox('outage_poison');
  // Tries far apart, so that a good one that waits for a bad one is seen; resends close together, so that a sender
  // which does not stop is seen as well.
  const inbox = { attemptsMax: TRIES, backoff: { firstMs: TRY_AGAIN_MS, factor: 1, capMs: TRY_AGAIN_MS } };
  const localMessage = { resend: { firstMs: 2_000, factor: 1, capMs: 2_000 }, attemptsMax: 1_000 };
  shop = new Stack(sandbox, { options: { core: { inbox }, localMessage } });
  await shop.start();
  await openShop(shop);
  await shop.stock(SKU, 1_000);
  stock = await breakableStock(sandbox);
});

afterAll(() => shop?.stop());

const orderPlaced = () =>
  JSON.stringify({
    orderId: randomUUID(),
    scheme: 'local-message',
    buyerId: 'mallory',
    sku: SKU,
    quantity: 1,
    amount: 990,
  });

/** Messages that no sender keeps in a table. Each kind must get the error of its kind. */
const STRAY: Array<{
  kind: string;
  problem: RegExp;
  body: () => string;
  type?: string;
  id?: () => string | undefined;
}> = [
  { kind: 'bad JSON', problem: /^not JSON/, body: () => '{"orderId": ' },
  { kind: 'wrong schema', problem: /^does not fit/, body: () => '{"orderId":"7","quantity":0}' },
  { kind: 'wrong type', problem: /^expected a message of type/, body: orderPlaced, type: 'order.placed.v9' },
  { kind: 'too old', problem: /^older than/, body: orderPlaced, id: () => newId(Date.now() - 10 * DAY_MS) },
  { kind: 'no message id', problem: /^no valid message id/, body: orderPlaced, id: () => undefined },
];

/** Publishes each kind several times, each delivery twice. Answers the gids by kind. */
async function sendStray(): Promise<Map<string, string[]>> {
  const publisher = await TestPublisher.open(sandbox);
  const gids = new Map<string, string[]>();
  for (let n = 0; n < OF_EACH_KIND; n++) {
    for (const { kind, body, type, id = () => newId() } of STRAY) {
      const gid = `${kind.replaceAll(' ', '-')}-${n}`;
      const message = { sender: 'order', id: id() ?? '', gid, contract: 'order.placed', version: 1 } as const;
      const { messageId, ...properties } = propertiesOf(message);
      const named = { ...properties, ...(type ? { type } : {}), ...(messageId ? { messageId } : {}) };
      const bytes = Buffer.from(body());
      for (let copy = 0; copy < 2; copy++) await publisher.send(`dtx.${CONSUMER}.v1`, bytes, named);
      gids.set(kind, [...(gids.get(kind) ?? []), gid]);
    }
  }
  await publisher.close();
  return gids;
}

/** Rows of a sender whose idea of the contract is another one. Answers their gids. */
async function appendUnreadable(): Promise<string[]> {
  const gids = Array.from({ length: OF_EACH_KIND }, (_, n) => `another-idea-${n}`);
  for (const gid of gids) {
    await sql(
      sandbox,
      'order',
      `INSERT INTO dtx_outbox (id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at)
       VALUES (?, ?, 'order.placed', 1, '{"order":7}', ?, 'PENDING', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
      [newId(), gid, `,${CONSUMER},`],
    );
  }
  return gids;
}

interface Held {
  id: string;
  gid: string;
  state: string;
  attempts: number;
  error: string;
  alerts: number;
}

/** Deliveries of these transactions as the receiver stored them, with how many alerts were ever raised for each. */
const heldOf = (gids: readonly string[]) =>
  sql<Held>(
    sandbox,
    'inventory',
    `SELECT id, gid, state, attempts, last_error AS error,
       (SELECT COUNT(*) FROM dtx_alert WHERE subject_id = dtx_inbox.id) AS alerts FROM dtx_inbox WHERE gid IN (?)`,
    [gids],
  );

const gidsOf = (purchases: readonly Purchase[]) => purchases.map(({ orderId }) => orderId);

/** Seconds of processor time that the inventory app has used, by its own metrics. */
async function cpuSeconds(): Promise<number> {
  const { body } = await shop.get('inventory', '/metrics');
  return Number(/^process_cpu_seconds_total (\S+)/m.exec(String(body.text))![1]);
}

async function byHand(id: string, action: string, body: object = {}): Promise<void> {
  const answer = await shop.send('inventory', 'POST', `/dtx/transactions/${id}/${action}`, body);
  expect([answer.status, answer.body.id]).toEqual([200, id]);
}

let throwing: Purchase[];
let stray: Map<string, string[]>;
let unreadable: string[];
let load: Load;

test('good messages settle while poison messages are retried', async () => {
  await stock.break(SKU);
  const body = { buyerId: 'buyer-0', sku: SKU, quantity: 1 };
  throwing = await Promise.all(Array.from({ length: THROWING }, () => shop.order(body)));
  [stray, unreadable] = await Promise.all([sendStray(), appendUnreadable()]);
  await until('all bad ones have been tried once', async () => (await heldOf(gidsOf(throwing))).length === THROWING);

  load = new Load({ name: 'good', urls: () => [shop.of('order').url], callers: 4, total: GOOD });
  await load.ended();
  for (const orderId of load.orderIds) await shop.settled(orderId);
  // If the good ones had waited for places of bad ones, the bad ones would have used up their tries by now.
  const states = (await heldOf(gidsOf(throwing))).map(({ state }) => state);
  expect(states).toContain('RETRYING');
}, 90_000);

test('each poison message is parked after its attempts with one alert and costs little processor time', async () => {
  const [cpuBefore, since] = [await cpuSeconds(), performance.now()];
  const elapsed = () => (performance.now() - since) / 1_000;
  const areParked = async () => (await heldOf(gidsOf(throwing))).every(({ state }) => state === 'PARKED');
  await until('all are parked', async () => (await areParked()) && elapsed() > 3, { withinMs: 80_000 });
  const seconds = elapsed();
  const cpu = (await cpuSeconds()) - cpuBefore;
  for (const held of await heldOf(gidsOf(throwing))) {
    expect(held).toMatchObject({ state: 'PARKED', attempts: TRIES, alerts: 1, error: 'broken by the test' });
  }
  for (const { kind, problem } of STRAY) {
    const rows = await heldOf(stray.get(kind)!);
    expect(rows.map((row) => [kind, row.state, row.attempts, Number(row.alerts)])).toEqual(
      Array(OF_EACH_KIND).fill([kind, 'PARKED', 0, 1]),
    );
    for (const row of rows) expect(row.error).toMatch(problem);
  }
  console.log(`${cpu.toFixed(2)} s of processor time in ${seconds.toFixed(1)} s`);
  expect(cpu / seconds).toBeLessThan(CPU_SHARE_MAX);
}, 90_000);

test('the senders of poison messages stop resending, and the broker has redelivered none', async () => {
  const gids = [...gidsOf(throwing), ...unreadable];
  const rows = await until('the senders are told', async () => {
    const query = `SELECT state, attempts, last_error AS error, next_attempt_at AS due FROM dtx_outbox
      WHERE gid IN (?) AND contract = 'order.placed'`;
    const found = await sql<{ state: string; attempts: number }>(sandbox, 'order', query, [gids]);
    return found.length === gids.length && found.every(({ state }) => state === 'DONE') && found;
  });
  for (const row of rows) expect(row).toMatchObject({ error: `parked at ${CONSUMER}`, due: null });
  const resent = rows.filter(({ attempts }) => attempts > 1).length;
  expect(resent).toBeGreaterThanOrEqual(THROWING * 0.9); // while it was neither handled nor parked
  expect(Math.max(...rows.map(({ attempts }) => attempts))).toBeLessThan(RESENDS_MAX);
  const counts = await until('the broker has counted', async () => {
    const now = await brokerCounts(sandbox);
    return now.acked >= GOOD + THROWING + 2 * OF_EACH_KIND * STRAY.length && now;
  });
  console.log(JSON.stringify(counts));
  expect(counts.redelivered).toBe(0);
}, 60_000);

test('an operator settles poison messages by retry, rejection and close, and every invariant holds', async () => {
  await stock.repair(SKU);
  const held = await heldOf(gidsOf(throwing));
  const [retried, refused] = [held.slice(0, THROWING / 2), held.slice(THROWING / 2)];
  for (const { id } of retried) await byHand(id, 'retry');
  for (const { id } of refused) await byHand(id, 'resolve', { outcome: 'reject', note: 'not worth a repair' });
  for (const { id } of await heldOf([...[...stray.values()].flat(), ...unreadable])) {
    await byHand(id, 'resolve', { outcome: 'done', note: 'not ours' });
  }
  await untilSettled(shop);
  const statuses = async (rows: Held[]) =>
    new Set(await Promise.all(rows.map(async ({ gid }) => (await shop.settled(gid)).status)));
  expect(await statuses(retried)).toEqual(new Set(['CONFIRMED']));
  expect(await statuses(refused)).toEqual(new Set(['CANCELLED']));
  await expectToldTruth(shop, load);
  const open = await sql(sandbox, 'inventory', 'SELECT id FROM dtx_alert WHERE closed_at IS NULL');
  expect(open).toEqual([]);
  await expectAuditClean(shop);
}, 90_000);
