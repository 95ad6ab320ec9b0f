import { randomUUID } from 'node:crypto';
import { connect } from 'amqplib';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { QueueWatch } from '../../../libs/dtx/src/core/durable/unattended-queues.js';
import { deleteQueue, queueState } from '../../fixtures/broker-queues.js';
import { built } from '../../fixtures/built-library.js';
import { LittleService, libraryOf, type ServiceOptions } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

/** A contract has changed the type of its queue. Its name in the code, and so the row of the watch, stays the same. */
const library = libraryOf();
const { QueueWatch: Watch } = built('core/durable/unattended-queues.js') as { QueueWatch: new () => QueueWatch };
const core = { absentMs: 400 };
let sandbox: Sandbox;
let service: LittleService | undefined;

beforeAll(async () => {
  sandbox = await freshSandbox('changed_queue_kind', { audited: false });
});
afterAll(() => service?.close());

async function start(options: Partial<ServiceOptions> = {}): Promise<void> {
  await service?.close();
  service = await LittleService.start({ sandbox, library, core, ...options });
}

type Kind = 'work' | 'replicated';

const use = (name: string, kind: Kind) => service!.get(Watch).use({ name, kind, scheme: 'local-message' });

async function send(name: string, kind: Kind): Promise<void> {
  await use(name, kind);
  const envelope = { messageId: randomUUID(), type: 'test.moved.v1', gid: 'moved', scheme: 'test' };
  await service!.get(library.Broker).publisher.publish(name, Buffer.from('{}'), envelope, { kind });
}

const kindOf = async (name: string) =>
  (await sql<{ kind: string }>(sandbox, 'payment', 'SELECT kind FROM dtx_queue WHERE name = ?', [name]))[0]?.kind;
const alertsOf = (name: string) =>
  sql<{ closed_at: Date | null }>(sandbox, 'payment', 'SELECT closed_at FROM dtx_alert WHERE subject_id = ?', [name]);
const alertOpens = (name: string) =>
  until(`an alert of ${name} is open`, async () => (await alertsOf(name)).some((alert) => alert.closed_at === null), {
    withinMs: 15_000,
  });

test.each<[Kind, Kind]>([
  ['replicated', 'work'],
  ['work', 'replicated'],
])('messages without a consumer raise an alert after their queue has changed from %s to %s', async (from, to) => {
  const name = `dtx.payment.from-${from}.v1`;
  await start();
  await use(name, from);
  expect(await kindOf(name)).toBe(from);
  await start();
  await send(name, to);
  await alertOpens(name);
  expect(await kindOf(name)).toBe(to);
});

test('one process records a queue again when its kind has changed', async () => {
  const name = 'dtx.payment.again.v1';
  await start();
  await use(name, 'replicated');
  await use(name, 'work');
  expect(await kindOf(name)).toBe('work');
});

test('an open alert closes when a consumer takes from the queue that replaced one of the other type', async () => {
  const name = 'dtx.payment.replaced.v1';
  const classic = { core: { ...core, queues: 'classic' } } as const;
  await start(classic);
  await send(name, 'replicated');
  await alertOpens(name);
  await service!.close();
  await deleteQueue(sandbox, name);
  await consumeClassic(name);
  await start(classic);
  await use(name, 'work');
  const isClosed = async () => (await alertsOf(name)).every((alert) => alert.closed_at !== null);
  await until('the alert is closed', isClosed, { withinMs: 15_000 });
  expect(await queueState(sandbox, name)).toEqual({ messages: 0, consumers: 1 });
});

/** Declares the classic queue before the service starts, and consumes from it until the end of the test. */
async function consumeClassic(name: string): Promise<void> {
  const connection = await connect(sandbox.rabbitmq);
  onTestFinished(() => connection.close());
  const channel = await connection.createChannel();
  await channel.assertQueue(name, { durable: true });
  await channel.consume(name, () => {}, { noAck: true });
}
