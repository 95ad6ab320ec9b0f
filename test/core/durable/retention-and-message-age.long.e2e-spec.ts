import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newId } from '../../../libs/dtx/src/core/ids.js';
import { ROOT } from '../../fixtures/app-process.js';
import { propertiesOf, TestPublisher } from '../../fixtures/outbox-message-copies.js';
import { expectAuditClean, untilSettled } from '../../fixtures/purchase-checks.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { APPS, Stack } from '../../fixtures/three-apps.js';
import { until } from '../../fixtures/until.js';
import { decisions, witnesses } from '../../xa/branches-and-decisions.js';
import { buy } from '../../xa/xa-purchase.js';

const DAY_MS = 86_400_000;
const CLOCK = join(ROOT, 'test', 'fixtures', 'wrong-clock.mjs');
const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };
let sandbox: Sandbox;
let shop: Stack;

/** Rows are kept for eight days by default, and looked at often. */
beforeAll(async () => {
  // At the end the tests send messages about purchases that do not exist.
  sandbox = await freshSandbox('retention', { audited: false });
  const env = { NODE_OPTIONS: `--import ${CLOCK}`, TEST_CLOCK_JUMP_MS: String(9 * DAY_MS) };
  shop = new Stack(sandbox, { env, options: { core: { purgeIntervalMs: 100 } } });
  await shop.start();
  await Promise.all([shop.account('alice', 1_000_000), shop.stock('book', 1_000)]);
});

afterAll(() => shop?.stop());

/** A table whose finished rows go, and a finished row of it as an import would write it. */
interface Kept {
  readonly app: AppName;
  readonly table: string;
  row(id: string): Record<string, unknown>;
  /** When it came to its end. */
  readonly ended?: string;
}

const half = { gid: 'g', contract: 'flash.sold', version: 1, consumers: 'payment.take' };
const TABLES: Kept[] = [
  {
    app: 'order',
    table: 'dtx_outbox',
    ended: 'done_at',
    row: (id) => ({ id, gid: 'g', contract: 'order.placed', version: 1, payload: '{}', awaiting: ',', state: 'DONE' }),
  },
  { app: 'inventory', table: 'dtx_half', ended: 'done_at', row: (id) => ({ id, ...half, state: 'DONE' }) },
  {
    app: 'inventory',
    table: 'dtx_half_parked',
    ended: 'settled_at',
    row: (id) => ({ id, gid: 'g', message: '{}', state: 'DONE' }),
  },
  {
    app: 'payment',
    table: 'dtx_tcc',
    ended: 'settled_at',
    row: (id) => ({ id, gid: id, state: 'CONFIRMED', decision: 'CONFIRM', deadline: new Date() }),
  },
  {
    app: 'payment',
    table: 'dtx_notification',
    ended: 'settled_at',
    row: (id) => ({ id, gid: 'g', type: 'payment.captured', target_host: 'h', state: 'DELIVERED' }),
  },
  {
    app: 'payment',
    table: 'dtx_inbox',
    ended: 'settled_at',
    row: (id) => ({ id, message_id: id, consumer: 'payment.take-money', scheme: 'local-message', state: 'HANDLED' }),
  },
  { app: 'order', table: 'dtx_xa', row: (id) => ({ id, gid: id, gtrid: id, branches: 'payment', state: 'DONE' }) },
];

async function insert(
  { app, table, row, ended }: Kept,
  id: string,
  ages: { days: number; endedDays?: number },
): Promise<void> {
  const values = row(id);
  const ago = (days: number) => `UTC_TIMESTAMP(3) - INTERVAL ${days} DAY`;
  const times: Record<string, string> = { created_at: ago(ages.days) };
  if (ended) times[ended] = ago(ages.endedDays ?? ages.days);
  const columns = [...Object.keys(values), ...Object.keys(times)];
  const places = [...Object.keys(values).map(() => '?'), ...Object.values(times)];
  await sql(
    sandbox,
    app,
    `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${places.join(', ')})`,
    Object.values(values),
  );
}

const idsOf = async ({ app, table }: Kept) =>
  (await sql<{ id: string }>(sandbox, app, `SELECT id FROM ${table}`)).map(({ id }) => id);

/** Purges have passed by since. */
async function untilPurged(table: Kept): Promise<void> {
  const id = `0-${newId().slice(0, 30)}`;
  await insert(table, id, { days: 60 });
  await until(`a row of ${table.table} from long ago goes`, async () => !(await idsOf(table)).includes(id));
}

const OLD = ['42', 'f47ac10b-58cc-4372-a567-0e02b2c3d479', newId(), newId(Date.now() + 365 * DAY_MS)];
const YOUNG = ['43', 'e37ac10b-58cc-4372-a567-0e02b2c3d479', newId(Date.now() - 400 * DAY_MS), newId(Date.now())];

test.each(TABLES.map((table) => [table.table, table] as const))(
  'finished rows of %s are purged by their times, whatever their ids are',
  async (_, table) => {
    for (const id of OLD) await insert(table, id, { days: 60 });
    for (const id of YOUNG) await insert(table, id, { days: 1 });
    if (table.ended) await insert(table, 'waited-long', { days: 60, endedDays: 0 });
    await untilPurged(table);
    const left = await idsOf(table);
    expect(left.filter((id) => OLD.includes(id))).toEqual([]);
    expect(left).toEqual(expect.arrayContaining([...YOUNG, ...(table.ended ? ['waited-long'] : [])]));
    await sql(sandbox, table.app, `DELETE FROM ${table.table} WHERE id IN (?)`, [[...YOUNG, 'waited-long']]);
    // The newest verdict is remembered, and missed: here it was swept by the test.
    if (table.table === 'dtx_half') await sql(sandbox, table.app, 'DELETE FROM dtx_half_mark');
  },
);

test('a clock that is set nine days ahead removes no row and makes no fresh message too old', async () => {
  expect((await buy(shop.of('order').url, 'before-the-jump', BOOK)).status).toBe(201);
  const before = await shop.order(BOOK);
  await shop.settled(before.orderId);
  await untilSettled(shop);
  for (const instance of shop.instances) instance.signal('SIGUSR2');
  await until('every clock is set', () =>
    shop.instances.every((instance) => /the clock is set to/.test(instance.log())),
  );

  const after = await shop.order(BOOK);
  expect(await shop.settled(after.orderId)).toMatchObject({ status: 'CONFIRMED' });
  expect((await buy(shop.of('order').url, 'after-the-jump', BOOK)).status).toBe(201);
  await untilSettled(shop);
  for (const table of TABLES) await untilPurged(table);
  const [decision, ...others] = (await decisions(sandbox)).filter((row) => row.decision === 'COMMIT');
  expect(others).toHaveLength(1);
  expect(await witnesses(sandbox, decision!.gtrid)).toEqual(['branch', 'branch']);
  const kept = await sql(sandbox, 'order', `SELECT id FROM dtx_outbox WHERE gid IN (?) AND contract = 'order.placed'`, [
    [before.orderId, after.orderId],
  ]);
  expect(kept).toHaveLength(2);
  for (const app of APPS)
    expect(await sql(sandbox, app, `SELECT id FROM dtx_inbox WHERE state = 'PARKED'`)).toEqual([]);
  await expectAuditClean(shop);
});

test('a message is as old as its row and not as its id: imported ones are handled, old ones are parked', async () => {
  const publisher = await TestPublisher.open(sandbox);
  const [sent] = await sql<{ payload: string }>(
    sandbox,
    'order',
    `SELECT payload FROM dtx_outbox WHERE contract = 'order.placed' ORDER BY id DESC LIMIT 1`,
  );
  const send = async (id: string, gid: string, madeAtMs?: number) => {
    const properties = propertiesOf({ sender: 'order', id, gid, contract: 'order.placed', version: 1 });
    const header = madeAtMs === undefined ? {} : { 'dtx-made-at': String(madeAtMs) };
    const payload = { ...JSON.parse(sent!.payload), orderId: gid };
    const headers = { ...(properties.headers as object), ...header };
    await publisher.send('dtx.inventory.take-stock.v1', Buffer.from(JSON.stringify(payload)), {
      ...properties,
      headers,
    });
  };
  /** As its sender's scan finds it: nothing but the row tells its age. */
  const append = async (id: string, gid: string, days: number) => {
    const payload = JSON.stringify({ ...JSON.parse(sent!.payload), orderId: gid });
    await sql(
      sandbox,
      'order',
      `INSERT INTO dtx_outbox (id, gid, contract, version, payload, awaiting, state, next_attempt_at, created_at)
       VALUES (?, ?, 'order.placed', 1, ?, ',inventory.take-stock,', 'PENDING', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) - INTERVAL ? DAY)`,
      [id, gid, payload, days],
    );
  };
  const ids = {
    handled: newId(Date.now() - 20 * DAY_MS),
    named: '4711',
    rowHandled: newId(Date.now() - 20 * DAY_MS),
    rowNamed: '4713',
    parked: newId(),
    parkedToo: '4712',
    rowParked: newId(),
  };
  await send(ids.handled, newId(), Date.now());
  await send(ids.named, newId());
  await send(ids.parked, newId(), Date.now() - 20 * DAY_MS);
  await send(ids.parkedToo, newId(), Date.now() - 20 * DAY_MS);
  await publisher.close();
  await append(ids.rowHandled, newId(), 1);
  await append(ids.rowNamed, newId(), 1);
  await append(ids.rowParked, newId(), 20);
  const states = await until('all are stored', async () => {
    const query = 'SELECT message_id AS id, state FROM dtx_inbox WHERE message_id IN (?)';
    const rows = await sql<{ id: string; state: string }>(sandbox, 'inventory', query, [Object.values(ids)]);
    return rows.length === Object.keys(ids).length && new Map(rows.map(({ id, state }) => [id, state]));
  });
  expect(Object.fromEntries(Object.entries(ids).map(([name, id]) => [name, states.get(id)]))).toEqual({
    handled: 'HANDLED',
    named: 'HANDLED',
    rowHandled: 'HANDLED',
    rowNamed: 'HANDLED',
    parked: 'PARKED',
    parkedToo: 'PARKED',
    rowParked: 'PARKED',
  });
  for (const id of [ids.parked, ids.parkedToo, ids.rowParked]) {
    const key = `${id}.inventory.take-stock`;
    const { status } = await shop.send('inventory', 'POST', `/dtx/transactions/${key}/retry`, {});
    expect(status).toBe(200);
    await until('a person has had it handled', async () => {
      const [row] = await sql<{ state: string }>(sandbox, 'inventory', 'SELECT state FROM dtx_inbox WHERE id = ?', [
        key,
      ]);
      return row!.state === 'HANDLED';
    });
  }
});
