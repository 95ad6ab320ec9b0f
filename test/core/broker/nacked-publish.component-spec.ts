import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { NackingQueue } from './nacking-queue.js';

let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await freshSandbox('nacked', { audited: false });
});

async function open(options?: { leaseMs: number }): Promise<NackingQueue> {
  const queue = await NackingQueue.open(sandbox, options);
  onTestFinished(() => queue.close());
  return queue;
}

test('a nacked message is sent again on another channel until its queue takes it', async () => {
  const queue = await open();
  const { channel } = queue;
  const sending = queue.publish('nacked');
  const failed = sending.catch((error) => error);
  await queue.untilLeft(channel);
  await queue.takeMessages();
  expect(await failed).toBeUndefined();
});

test('messages to other queues on a channel that is left are confirmed', async () => {
  const queue = await open();
  const others = Array.from({ length: 8 }, (_, n) => queue.publish(`other-${n}`, `dtx.test.other-${n}.v1`));
  const nacked = queue.publish('nacked').catch((error) => error);
  await Promise.all(others);
  await queue.takeMessages();
  expect(await nacked).toBeUndefined();
});

test('a queue that nacks for longer than an election is an error', async () => {
  const queue = await open({ leaseMs: 600 });
  const nacked = { name: 'Nacked', message: expect.stringContaining('RabbitMQ rejected the message (nack)') };
  await expect(queue.publish('first')).rejects.toMatchObject(nacked);
  await expect(queue.publish('second')).rejects.toMatchObject(nacked);
});
