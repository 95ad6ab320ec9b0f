import { setImmediate as aTurn } from 'node:timers/promises';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { management } from '../../../tools/src/servers/broker-api.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { TcpProxy } from '../../fixtures/tcp-proxy.js';
import { until } from '../../fixtures/until.js';
import { Administrator } from './broker-administrator.js';
import { keepLogs, Wire } from './broker-clients.js';

const DRAIN_MS = 20_000;
/** The method frame of AMQP 0-9-1 that begins a consumer: class 60 (basic), method 20 (consume). */
const CONSUME = Buffer.from([0, 60, 0, 20]);
let sandbox: Sandbox;
let admin: Administrator;

beforeAll(async () => {
  sandbox = await freshSandbox('stopped_consumers', { audited: false });
  admin = await Administrator.of(sandbox);
  keepLogs();
});

afterAll(() => admin.close());

/** A publisher at the broker itself, and another account behind a proxy. */
async function wires(): Promise<{ direct: Wire; behind: Wire; proxy: TcpProxy }> {
  const proxy = await TcpProxy.start(sandbox.rabbitmq);
  const [direct, behind] = [new Wire(sandbox.rabbitmq), new Wire(proxy.url)];
  onTestFinished(async () => {
    await Promise.all([direct.close(), behind.close()]);
    await proxy.close();
  });
  await until('both are up', () => direct.publisher.isUp && behind.connection.isUp);
  return { direct, behind, proxy };
}

test('a consumer that stops without a connection waits for its deliveries in work', async () => {
  const queue = 'dtx.test.in-work.v1';
  const { direct, behind, proxy } = await wires();
  const ends: string[] = [];
  let letGo!: () => void;
  const gate = new Promise<void>((open) => {
    letGo = open;
  });
  const consumer = behind.consume(queue, () => gate.then(() => void ends.push('handled')));
  await direct.publish(queue, 'in-work');
  await until('it is in work', () => consumer.busy === 1);
  proxy.cut();
  await until('the connection is lost', () => !behind.connection.isUp);
  const stopped = consumer.stop(DRAIN_MS).then(() => ends.push('stopped'));
  await aTurn();
  letGo();
  await stopped;
  expect(ends).toEqual(['handled', 'stopped']);
});

test('a delivery that arrives after the stop of its consumer returns to the queue', async () => {
  const queue = 'dtx.test.late.v1';
  const { direct, behind, proxy } = await wires();
  const handled: unknown[] = [];
  const consumer = behind.consume(queue, async (delivery) => {
    handled.push(delivery.message.properties.messageId);
    delivery.ack();
  });
  await until('it is attached', () => consumer.isAttached);
  await direct.publish(queue, 'before');
  await until('it takes messages', () => handled.length === 1);
  // The delivery is on its way when the consumer stops.
  proxy.delay(500);
  await direct.publish(queue, 'late');
  await consumer.stop(DRAIN_MS);
  await until('it waits in the queue', async () => (await admin.waiting(queue)) === 1, { withinMs: 10_000 });
  expect(handled).toEqual(['before']);
});

test.each([
  ['begins', -1],
  ['ends', undefined],
])('a pause that %s while a consumer attaches decides its priority', async (change, priority) => {
  const queue = `dtx.test.pause-${change}.v1`;
  const { direct, behind, proxy } = await wires();
  await direct.publish(queue, 'declares the queue');
  const consumer = behind.consume(queue, async () => {}, 'work', 'last');
  const first = await until('it is attached', () => consumerOf(queue));
  expect(first.priority).toBe(undefined);
  const [before, after] = change === 'begins' ? [undefined, 'paused'] : ['paused', undefined];
  let isAsked = false;
  const stop = proxy.onBytes('to-server', (bytes) => {
    if (isAsked || !bytes.includes(CONSUME)) return;
    isAsked = true;
    consumer.pauseFor(after);
  });
  onTestFinished(stop);
  consumer.pauseFor(before);
  await until('it attaches again', () => isAsked);
  // The statistics of the broker may still show the first one.
  const isThere = (now: typeof first | undefined) => now && now.tag !== first.tag && now.priority === priority;
  await until('it has the priority of the pause', async () => isThere(await consumerOf(queue)));
});

interface Details {
  readonly consumer_tag: string;
  readonly arguments: { readonly 'x-priority'?: number };
}

/** The only consumer of a queue, as the broker has it. */
async function consumerOf(queue: string): Promise<{ tag: string; priority: number | undefined } | undefined> {
  const path = `/queues/${encodeURIComponent(sandbox.vhost)}/${encodeURIComponent(queue)}`;
  const found = await management<{ consumer_details?: Details[] }>(sandbox.management, 'GET', path);
  const [one, ...others] = found?.consumer_details ?? [];
  return one && others.length === 0 ? { tag: one.consumer_tag, priority: one.arguments['x-priority'] } : undefined;
}
