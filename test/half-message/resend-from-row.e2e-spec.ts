import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { untilOver, useMessageInService } from '../core/consumer/message-in-service.js';
import { deleteQueue } from '../fixtures/broker-queues.js';
import { contractOf, controllerOf, libraryOf } from '../fixtures/little-service.js';
import { sql } from '../fixtures/sandbox.js';

const library = libraryOf();
const contract = contractOf(library, 'half-resent', { replicated: true });
const queue = 'dtx.payment.half-resent.v1';
const SHORT = { firstMs: 200, factor: 1, capMs: 200 };
const QUICK = { markDelayMs: 1, sweepAfterMs: 300, sweepBackoff: SHORT, absentMs: 1_000, attemptsMax: 10_000 };
const message = useMessageInService('half_resent', library);
const { start } = message;
const verdict = async () =>
  (
    await sql<{ state: string }>(message.sandbox, 'payment', 'SELECT state FROM dtx_half WHERE gid = ?', [message.gid])
  )[0]?.state;
const send = () => message.service.get(library.HalfMessages).send(contract, { gid: message.gid }, async () => {});
const consumer = () => controllerOf([[library.OnMessage(contract), async () => {}]]);

test('a half message that its queue has lost is sent again from its row', async () => {
  await start({ halfMessage: { ...QUICK, absentMs: 600_000 } });
  await send();
  await untilOver('it is sent', async () => (await verdict()) === 'SENT');
  await deleteQueue(message.sandbox, queue);
  await message.service.close();
  await start({ halfMessage: QUICK, controllers: [consumer()] });
  await untilOver('it is done', async () => (await verdict()) === 'DONE');
  expect(await message.inboxState()).toBe('HANDLED');
});

test('a half message of a version without receipts is done by its receipt', async () => {
  await start({ halfMessage: { ...QUICK, sweepAfterMs: 600_000 } });
  const id = randomUUID();
  await sql(
    message.sandbox,
    'payment',
    `INSERT INTO dtx_half (id, gid, contract, version, payload, consumers, state, next_attempt_at, created_at)
     VALUES (?, ?, ?, 1, ?, 'payment.half-resent', 'COMMITTED', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [id, message.gid, contract.name, JSON.stringify({ gid: message.gid })],
  );
  await message.service.close();
  // The receipt comes before the mark.
  await start({ halfMessage: { ...QUICK, markDelayMs: 500 }, controllers: [consumer()] });
  await untilOver('it is done', async () => (await verdict()) === 'DONE');
  expect([await message.inboxState(), await message.alerts()]).toEqual(['HANDLED', []]);
});

test('a parked half message is sent again from its row by an operator’s retry', async () => {
  await start({ halfMessage: { ...QUICK, absentMs: 500, attemptsMax: 3 } });
  await send();
  await untilOver('it is parked', async () => (await verdict()) === 'PARKED');
  expect(await message.alerts()).toHaveLength(1);
  await deleteQueue(message.sandbox, queue);
  await message.service.close();
  await start({ halfMessage: QUICK, controllers: [consumer()] });
  const rows = await sql<{ id: string }>(message.sandbox, 'payment', 'SELECT id FROM dtx_half WHERE gid = ?', [
    message.gid,
  ]);
  for (const source of message.service.get(library.Operations).sources) await source.retry(rows[0]!.id, {});
  await untilOver('it is done', async () => (await verdict()) === 'DONE');
  expect((await message.alerts()).filter(({ closed_at: at }) => at === null)).toEqual([]);
});
