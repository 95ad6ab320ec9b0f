import type { Duplex } from 'node:stream';
import { type ConfirmChannel, connect } from 'amqplib';
import { beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { Wire } from './broker-clients.js';

const MESSAGES = 50;
let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('gathered_writes', { audited: false });
});

/** How often the stream hands bytes to the kernel. A socket does so in `_write` for one chunk and in `_writev` for several. */
function writesOf(connection: unknown): () => number {
  const { stream } = connection as { stream: Required<Pick<Duplex, '_write' | '_writev'>> };
  const [one, several] = [vi.spyOn(stream, '_write'), vi.spyOn(stream, '_writev')];
  return () => one.mock.calls.length + several.mock.calls.length;
}

async function wireWith(queue: string): Promise<Wire> {
  const wire = new Wire(sandbox.rabbitmq);
  onTestFinished(() => wire.close());
  await until('the publisher is up', () => wire.publisher.isUp);
  await wire.publish(queue, 'declares it');
  return wire;
}

async function arrivedAt(wire: Wire, queue: string, count: number): Promise<string[]> {
  const arrived: string[] = [];
  wire.consume(queue, async ({ message, ack }) => {
    arrived.push(message.properties.messageId);
    ack();
  });
  await until('all have arrived', () => arrived.length >= count);
  return arrived;
}

const publishAll = (publish: (n: number) => Promise<void>) =>
  Promise.all(Array.from({ length: MESSAGES }, (_, n) => publish(n)));

test('control: amqplib alone hands each message to the kernel by itself', async () => {
  const queue = 'dtx.test.each.v1';
  await wireWith(queue);
  const connection = await connect(sandbox.rabbitmq);
  onTestFinished(() => connection.close());
  const channel: ConfirmChannel = await connection.createConfirmChannel();
  const writes = writesOf(connection.connection);
  await publishAll(
    (n) =>
      new Promise((resolve, reject) => {
        channel.sendToQueue(queue, Buffer.from(`${n}`), {}, (error) => (error ? reject(error) : resolve()));
      }),
  );
  expect(writes()).toBeGreaterThanOrEqual(MESSAGES);
});

test('messages of one turn are handed to the kernel together, and all arrive in their order', async () => {
  const queue = 'dtx.test.gathered.v1';
  const wire = await wireWith(queue);
  const writes = writesOf(wire.connection.open!.connection);
  await publishAll((n) => wire.publish(queue, `${n}`));
  expect(writes()).toBeLessThanOrEqual(MESSAGES / 5);
  const sent = Array.from({ length: MESSAGES }, (_, n) => `${n}`);
  expect(await arrivedAt(wire, queue, MESSAGES + 1)).toEqual(['declares it', ...sent]);
});

test('a burst larger than the high water mark goes on after each drain, and arrives in its order', async () => {
  const queue = 'dtx.test.burst.v1';
  const wire = await wireWith(queue);
  const { connection } = wire.connection.open!;
  let drains = 0;
  (connection as unknown as { stream: Duplex }).stream.on('drain', () => {
    drains++;
  });
  const writes = writesOf(connection);
  const body = Buffer.alloc(1_024, 'b');
  const envelope = { type: 'test', gid: 'burst', scheme: 'test' };
  const ids = Array.from({ length: 4 * MESSAGES }, (_, n) => `burst-${n}`);
  await Promise.all(ids.map((messageId) => wire.publisher.publish(queue, body, { ...envelope, messageId })));
  expect(drains).toBeGreaterThan(0);
  expect(writes()).toBeLessThanOrEqual(ids.length / 5);
  expect(await arrivedAt(wire, queue, ids.length + 1)).toEqual(['declares it', ...ids]);
});
