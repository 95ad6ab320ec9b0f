import { randomUUID } from 'node:crypto';
import { type Channel, type ConfirmChannel, connect } from 'amqplib';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { Administrator } from './broker-administrator.js';
import { keepLogs, logged, Wire } from './broker-clients.js';

const ALL = '.*';
const NONE = '^$';
const CONFIGURE_LESS = { configure: NONE, write: ALL, read: ALL };
const users: string[] = [];
let sandbox: Sandbox;
let admin: Administrator;

beforeAll(async () => {
  sandbox = await freshSandbox('refused_queues', { audited: false });
  admin = await Administrator.of(sandbox);
  keepLogs();
});

afterAll(() => admin.close(users));

beforeEach(() => {
  logged.length = 0;
});

async function wireOf(url: string): Promise<Wire> {
  const wire = new Wire(url);
  onTestFinished(() => wire.close());
  await until('the publisher is up', () => wire.publisher.isUp);
  return wire;
}

async function wireWith(rights: { configure: string; write: string; read: string }) {
  const user = `refused-${randomUUID()}`;
  users.push(user);
  return { user, wire: await wireOf(await admin.account(user, 'secret', rights)) };
}

const refusedWith = (code: number, text: RegExp) =>
  expect.objectContaining({ name: 'QueueRefused', code, message: expect.stringMatching(text) });

test('a queue that exists with other arguments fails only its own messages', async () => {
  const wire = await wireOf(sandbox.rabbitmq);
  await admin.declare('dtx.test.clash.v1', 'quorum');
  await wire.publish('dtx.test.good.v1', 'first');
  const good: Array<Promise<void>> = [];
  const clashing: Array<Promise<unknown>> = [];
  for (let n = 0; n < 300; n++) {
    good.push(wire.publish('dtx.test.good.v1', `good-${n}`));
    if (n % 10 === 0) {
      clashing.push(wire.publish('dtx.test.clash.v1', `clash-${n}`).catch((error) => error));
      clashing.push(wire.publisher.inspect('dtx.test.clash.v1').catch((error) => error));
      await good.at(-1);
    }
  }
  const ends = await Promise.allSettled(good);
  expect(ends.filter(({ status }) => status === 'rejected')).toEqual([]);
  const refused = await Promise.all(clashing);
  expect(refused).toEqual(refused.map(() => refusedWith(406, /dtx\.test\.clash\.v1: it exists with other arguments/)));
  expect(await admin.waiting('dtx.test.good.v1')).toBe(301);
  // Sixty askers, one question, one line.
  expect(logged.filter((line) => line.includes('dtx.test.clash.v1'))).toHaveLength(1);
});

/** Sends `count` messages to a healthy queue while each tenth turn asks for a queue that the broker refuses. */
async function publishBeside(refused: () => Promise<unknown>, publish: (n: number) => Promise<unknown>, count = 200) {
  const gapsMs: number[] = [];
  let failed = 0;
  let last = performance.now();
  for (let n = 0; n < count; n++) {
    if (n % 10 === 0) void refused().catch(() => {});
    await publish(n).catch(() => failed++);
    gapsMs.push(performance.now() - last);
    last = performance.now();
  }
  return { failed, longestGapMs: Math.max(...gapsMs) };
}

test('a refused queue closes no channel of the publisher, and the confirms of all others have no gap', async () => {
  const wire = await wireOf(sandbox.rabbitmq);
  await admin.declare('dtx.test.other.v1', 'quorum');
  await wire.publish('dtx.test.steady.v1', 'first');
  const closed: string[] = [];
  const { channel } = wire.publisher as unknown as { channel: Channel };
  channel.on('close', () => closed.push('channel'));
  wire.publisher.on('down', () => closed.push('publisher'));
  const { failed, longestGapMs } = await publishBeside(
    () => wire.publish('dtx.test.other.v1', 'refused'),
    (n) => wire.publish('dtx.test.steady.v1', `steady-${n}`),
  );
  expect({ failed, closed }).toEqual({ failed: 0, closed: [] });
  // Below the reopening of a channel (200 ms) on a quiet machine. A busy one has pauses of its own.
  expect(longestGapMs).toBeLessThan(2_000);
});

test('control: a program that declares on its publishing channel loses the publishes of others', async () => {
  const connection = await connect(sandbox.rabbitmq);
  onTestFinished(() => connection.close());
  await admin.declare('dtx.test.other.v1', 'quorum');
  let opened = 0;
  let channel: Promise<ConfirmChannel> | undefined;
  const open = () => {
    channel ??= connection.createConfirmChannel().then((fresh) => {
      opened++;
      fresh.on('error', () => {}).on('close', () => (channel = undefined));
      return fresh;
    });
    return channel;
  };
  const { failed } = await publishBeside(
    async () => (await open()).assertQueue('dtx.test.other.v1', { durable: true }),
    async () => {
      const current = await open();
      current.publish('', 'dtx.test.steady.v1', Buffer.from('{}'));
      await current.waitForConfirms();
    },
  );
  expect(failed).toBeGreaterThan(0);
  expect(opened).toBeGreaterThan(1);
});

test('an account without "configure" publishes to existing queues and consumes them', async () => {
  const { wire } = await wireWith(CONFIGURE_LESS);
  await admin.declare('dtx.test.there.v1', 'classic');
  await admin.declare('dtx.test.there-replicated.v1', 'quorum');
  const arrived: string[] = [];
  const take = async (delivery: { message: { properties: { messageId?: string } }; ack(): void }) => {
    arrived.push(String(delivery.message.properties.messageId));
    delivery.ack();
  };
  const consumers = [
    wire.consume('dtx.test.there.v1', take),
    wire.consume('dtx.test.there-replicated.v1', take, 'replicated'),
  ];
  await wire.publish('dtx.test.there.v1', 'one');
  await wire.publish('dtx.test.there-replicated.v1', 'two', 'replicated');
  await until('both have arrived', () => arrived.length === 2);
  expect(consumers.map(({ problem }) => problem)).toEqual([undefined, undefined]);
  expect((await wire.publisher.inspect('dtx.test.there.v1')).consumerCount).toBe(1);
  expect(logged).toEqual([]);
});

test('a missing right counts as a failed attempt that names the right and the queue', async () => {
  const { wire } = await wireWith(CONFIGURE_LESS);
  const missing = refusedWith(403, /lacks the right "configure" on dtx\.test\.absent\.v1/);
  await expect(wire.publish('dtx.test.absent.v1', 'one')).rejects.toEqual(missing);
  const ends = await Promise.allSettled(Array.from({ length: 50 }, () => wire.publish('dtx.test.absent.v1', 'more')));
  expect(ends).toEqual(ends.map(() => ({ status: 'rejected', reason: missing })));
  await expect(wire.publisher.inspect('dtx.test.absent.v1')).rejects.toEqual(missing);
  expect(logged.filter((line) => line.includes('dtx.test.absent.v1'))).toHaveLength(1);
  expect(wire.publisher.isUp).toBe(true);
});

test('a publisher without the right to publish reports it once and opens no further channels', async () => {
  const { wire } = await wireWith({ configure: ALL, write: NONE, read: ALL });
  const refused = refusedWith(403, /lacks the right "write" on exchange amq\.default/);
  const tries = async () => {
    await until('the publisher is up', () => wire.publisher.isUp);
    return wire.publish('dtx.test.unwritable.v1', 'one').catch((error) => error);
  };
  const ends = [];
  for (let n = 0; n < 30; n++) ends.push(await tries());
  expect(ends).toEqual(ends.map(() => refused));
  expect(logged.filter((line) => line.includes('cannot publish'))).toHaveLength(1);
});

test('a refused consumer names the missing right and begins to work once it is granted', async () => {
  const { user, wire } = await wireWith({ configure: ALL, write: ALL, read: NONE });
  const arrived: string[] = [];
  const consumer = wire.consume('dtx.test.unreadable.v1', async (delivery) => {
    arrived.push(String(delivery.message.properties.messageId));
    delivery.ack();
  });
  const problem = await until('it is refused', () => /right/.test(consumer.problem ?? '') && consumer.problem);
  expect(problem).toContain('the account lacks the right "read" on dtx.test.unreadable.v1');
  expect(consumer.isAttached).toBe(false);
  await admin.permit(user, { configure: ALL, write: ALL, read: ALL });
  await wire.publish('dtx.test.unreadable.v1', 'late');
  await until('it has arrived', () => arrived.length === 1);
  expect(consumer.problem).toBeUndefined();
  expect(logged.filter((line) => line.includes('cannot consume'))).toHaveLength(1);
});

test('an answer queue without the right to declare it names the pattern to grant', async () => {
  const { wire } = await wireWith(CONFIGURE_LESS);
  const consumer = wire.consume(`dtx.order.tcc-answers.${randomUUID()}`, async (delivery) => delivery.ack());
  const problem = await until('it is refused', () => /right/.test(consumer.problem ?? '') && consumer.problem);
  expect(problem).toContain('lacks the right "configure" on dtx.order.tcc-answers.');
  expect(problem).toContain('(grant it on ^dtx\\.order\\.tcc-answers\\.)');
});
