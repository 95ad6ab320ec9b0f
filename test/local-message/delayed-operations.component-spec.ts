// What an operator does with a delayed message, and what the retention leaves of it.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const HOUR_MS = 3_600_000;
const reminder = contractOf(library, 'reminder');
const handled: string[] = [];
let sandbox: Sandbox;
let service: LittleService;

const consume = async (_tx: unknown, message: { gid: string }) => void handled.push(message.gid);
const start = () =>
  LittleService.start({
    sandbox,
    library,
    controllers: [controllerOf([[library.OnMessage(reminder), consume]])],
    localMessage: { retentionMs: 1_000 },
    core: { purgeIntervalMs: 100 },
  });

beforeAll(async () => {
  sandbox = await freshSandbox('delayed_operations', { audited: false });
  service = await start();
});
afterAll(() => service?.close());

const append = (gid: string, dueInMs = HOUR_MS) =>
  service.source.transaction((tx) =>
    service.get(library.LocalMessages).append(tx, reminder, { gid }, { dueInMs, name: gid }),
  );
const outbox = async () => {
  for (const one of service.get(library.Operations).sources) {
    const [row] = await one.summary(service.get(library.Database).own);
    if (row?.source === 'dtx_outbox') return one;
  }
  throw new Error('the outbox is no source of the operations');
};
const viewOf = async (id: string) => (await (await outbox()).get(id))!;

test('a list shows the due time and the name, and the counts have the state apart', async () => {
  const id = await append('listed');
  const { items } = await (await outbox()).list({ state: 'SCHEDULED', limit: 10 });
  const item = items.find((one) => one.id === id)!;
  expect(item).toMatchObject({ what: 'test.reminder v1 (listed) to payment.reminder', gid: 'listed' });
  expect(Date.parse(item.nextAttemptAt!) - Date.parse(item.createdAt)).toBe(HOUR_MS);
  const [counts] = await (await outbox()).summary(service.get(library.Database).own);
  expect(counts).toMatchObject({ states: { SCHEDULED: expect.any(Number) }, parked: 0, oldestDueMs: null });
});

test('a retry sends it now, with the age from now', async () => {
  const id = await append('sent-now');
  expect(await (await outbox()).retry(id, { by: 'alice' })).toBe('done');
  await until('it is handled', () => handled.includes('sent-now'));
  const { timeline } = await viewOf(id);
  expect(timeline.map(({ event }) => event)).toEqual(
    expect.arrayContaining(['committed with the business, to be sent later', 'due', 'retry by alice']),
  );
});

test('a reschedule moves it while it waits, and is refused afterwards', async () => {
  const id = await append('moved');
  expect(await (await outbox()).reschedule!(id, 2 * HOUR_MS, {})).toBe('done');
  expect(Date.parse((await viewOf(id)).nextAttemptAt!) - Date.now()).toBeGreaterThan(1.5 * HOUR_MS);
  expect(await (await outbox()).reschedule!(id, 0, {})).toBe('done');
  await until('it is handled', () => handled.includes('moved'));
  expect(await (await outbox()).reschedule!(id, HOUR_MS, {})).toBe('not-possible');
  expect(await (await outbox()).reschedule!('nobody', HOUR_MS, {})).toBe('unknown-id');
});

test('a rejection cancels it, and its name is free', async () => {
  const id = await append('rejected');
  expect(await (await outbox()).resolve(id, 'reject', { note: 'by phone' })).toBe('done');
  expect((await viewOf(id)).state).toBe('CANCELLED');
  await append('rejected');
  expect(await (await outbox()).resolve(id, 'reject', { note: 'again' })).toBe('not-possible');
});

test('the retention of a cancelled or settled message counts from its end, and that of a waiting one has not begun', async () => {
  const waiting = await append('waiting');
  const cancelled = await append('cancelled');
  const settled = await append('settled');
  expect(await (await outbox()).resolve(settled, 'done', { note: 'told by phone' })).toBe('done');
  await service.source.transaction((tx) => service.get(library.LocalMessages).cancel(tx, reminder, { id: cancelled }));
  const left = (id: string) => sql(sandbox, 'payment', 'SELECT 1 FROM dtx_outbox WHERE id = ?', [id]);
  await until('the cancelled one is purged', async () => (await left(cancelled)).length === 0);
  await until('the settled one is purged', async () => (await left(settled)).length === 0);
  expect(await left(waiting)).toHaveLength(1);
  const names = await sql<{ name: string }>(
    sandbox,
    'payment',
    `SELECT name FROM dtx_outbox_name WHERE name IN ('waiting', 'cancelled', 'settled')`,
  );
  expect(names).toEqual([{ name: 'waiting' }]);
});

test('D1: no message goes back to its delay, whatever the scan, a sender and an operator do at once', async () => {
  const FLOOD = 300;
  await sql(sandbox, 'payment', 'CREATE TABLE gone_back (id CHAR(36), state VARCHAR(20))');
  await sql(
    sandbox,
    'payment',
    `CREATE TRIGGER sees_going_back AFTER UPDATE ON dtx_outbox FOR EACH ROW
     INSERT INTO gone_back SELECT OLD.id, OLD.state FROM DUAL WHERE OLD.state <> 'SCHEDULED' AND NEW.state = 'SCHEDULED'`,
  );
  const goneBack = () => sql<{ id: string }>(sandbox, 'payment', 'SELECT id FROM gone_back');
  const second = await start();
  try {
    const ids = await Promise.all(Array.from({ length: FLOOD }, (_, n) => append(`forward-${n}`, 300)));
    const isLeft = () => handled.filter((gid) => gid.startsWith('forward-')).length < FLOOD;
    while (isLeft()) {
      // Moves some, is too late for the others, and never brings one back.
      for (const id of ids.filter((_, n) => n % 10 === 0)) await (await outbox()).reschedule!(id, 0, {});
    }
    expect(new Set(handled.filter((gid) => gid.startsWith('forward-'))).size).toBe(FLOOD);
    expect(handled.filter((gid) => gid.startsWith('forward-'))).toHaveLength(FLOOD);
    expect(await goneBack()).toEqual([]);
    // The control: an update without the guard of the state is seen.
    const one = await append('pulled-back', 0);
    await until('it is handled', () => handled.includes('pulled-back'));
    await sql(sandbox, 'payment', `UPDATE dtx_outbox SET state = 'SCHEDULED' WHERE id = ?`, [one]);
    expect(await goneBack()).toMatchObject([{ id: one }]);
  } finally {
    await sql(sandbox, 'payment', 'DROP TRIGGER sees_going_back');
    await second.close();
  }
}, 60_000);
