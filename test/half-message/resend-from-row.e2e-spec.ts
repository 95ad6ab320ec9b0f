import { randomUUID } from 'node:crypto';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { alertsOf, inboxStateOf } from '../core/consumer/outbox-inbox-alerts.js';
import { deleteQueue } from '../fixtures/broker-queues.js';
import { contractOf, controllerOf, LittleService, libraryOf, type ServiceOptions } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const contract = contractOf(library, 'half-resent', { replicated: true });
const queue = 'dtx.payment.half-resent.v1';
const SHORT = { firstMs: 200, factor: 1, capMs: 200 };
const QUICK = { markDelayMs: 1, sweepAfterMs: 300, sweepBackoff: SHORT, absentMs: 1_000, attemptsMax: 10_000 };
let sandbox: Sandbox;
let service: LittleService;
let gid = '';

beforeAll(async () => {
  sandbox = await freshSandbox('half_resent', { audited: false });
});
beforeEach(() => {
  gid = `message-${randomUUID()}`;
});
afterEach(() => service?.close());

const start = async (options: Partial<ServiceOptions>) => {
  service = await LittleService.start({ sandbox, library, ...options });
};
const untilOver: typeof until = (what, is) => until(what, is, { withinMs: 60_000 });
const verdict = async () =>
  (await sql<{ state: string }>(sandbox, 'payment', 'SELECT state FROM dtx_half WHERE gid = ?', [gid]))[0]?.state;
const send = () => service.get(library.HalfMessages).send(contract, { gid }, async () => {});
const consumer = () => controllerOf([[library.OnMessage(contract), async () => {}]]);

test('a half message that its queue has lost is sent again from its row', async () => {
  await start({ halfMessage: { ...QUICK, absentMs: 600_000 } });
  await send();
  await untilOver('it is sent', async () => (await verdict()) === 'SENT');
  await deleteQueue(sandbox, queue);
  await service.close();
  await start({ halfMessage: QUICK, controllers: [consumer()] });
  await untilOver('it is done', async () => (await verdict()) === 'DONE');
  expect(await inboxStateOf(sandbox, gid)).toBe('HANDLED');
});

test('a half message of a version without receipts is done by its receipt', async () => {
  await start({ halfMessage: { ...QUICK, sweepAfterMs: 600_000 } });
  const id = randomUUID();
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_half (id, gid, contract, version, payload, consumers, state, next_attempt_at, created_at)
     VALUES (?, ?, ?, 1, ?, 'payment.half-resent', 'COMMITTED', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [id, gid, contract.name, JSON.stringify({ gid })],
  );
  await service.close();
  // The receipt comes before the mark.
  await start({ halfMessage: { ...QUICK, markDelayMs: 500 }, controllers: [consumer()] });
  await untilOver('it is done', async () => (await verdict()) === 'DONE');
  expect([await inboxStateOf(sandbox, gid), await alertsOf(sandbox, gid)]).toEqual(['HANDLED', []]);
});

test('a parked half message is sent again from its row by an operator’s retry', async () => {
  await start({ halfMessage: { ...QUICK, absentMs: 500, attemptsMax: 3 } });
  await send();
  await untilOver('it is parked', async () => (await verdict()) === 'PARKED');
  expect(await alertsOf(sandbox, gid)).toHaveLength(1);
  await deleteQueue(sandbox, queue);
  await service.close();
  await start({ halfMessage: QUICK, controllers: [consumer()] });
  const rows = await sql<{ id: string }>(sandbox, 'payment', 'SELECT id FROM dtx_half WHERE gid = ?', [gid]);
  for (const source of service.get(library.Operations).sources) await source.retry(rows[0]!.id, {});
  await untilOver('it is done', async () => (await verdict()) === 'DONE');
  expect((await alertsOf(sandbox, gid)).filter(({ closed_at: at }) => at === null)).toEqual([]);
});
