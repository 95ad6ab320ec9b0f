import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { TcpProxy } from '../../fixtures/tcp-proxy.js';
import { until } from '../../fixtures/until.js';
import { Administrator } from './broker-administrator.js';
import { keepLogs, Wire } from './broker-clients.js';

let sandbox: Sandbox;
let admin: Administrator;

beforeAll(async () => {
  sandbox = await freshSandbox('unanswered_close', { audited: false });
  admin = await Administrator.of(sandbox);
  keepLogs();
});

afterAll(() => admin.close());

async function wireOf(url: string): Promise<Wire> {
  const wire = new Wire(url);
  onTestFinished(() => wire.close());
  await until('the publisher is up', () => wire.publisher.isUp);
  return wire;
}

test('returning a delivery on a closing channel does not end the process', async () => {
  const unhandled: unknown[] = [];
  const keep = (reason: unknown) => void unhandled.push(reason);
  process.on('unhandledRejection', keep);
  onTestFinished(() => void process.off('unhandledRejection', keep));
  const proxy = await TcpProxy.start(sandbox.rabbitmq);
  onTestFinished(() => proxy.close());
  const wire = await wireOf(proxy.url);
  let fail: (error: Error) => void = () => {};
  const failing = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failing.catch(() => {});
  const consumer = wire.consume('dtx.test.closing.v1', () => failing);
  for (let n = 0; n < 5; n++) await wire.publish('dtx.test.closing.v1', `closing-${n}`);
  await until('all are in work', () => consumer.busy === 5);
  // The broker cancels the consumer, and does not hear that the channel is closed for it.
  proxy.blackHole('to-server');
  await admin.remove('dtx.test.closing.v1');
  await until('the consumer closes its channel', () => proxy.counts.swallowed > 0);
  fail(new Error('cannot be stored'));
  await until('none is in work', () => consumer.busy === 0);
  expect(unhandled).toEqual([]);
  proxy.heal();
  await until('it is attached again', () => consumer.isAttached);
});

test('a silent broker delays neither the stop of a consumer nor the close of a connection', async () => {
  const proxy = await TcpProxy.start(sandbox.rabbitmq);
  onTestFinished(() => proxy.close());
  const wire = await wireOf(proxy.url);
  const consumer = wire.consume('dtx.test.silent.v1', async (delivery) => delivery.ack());
  await until('it is attached', () => consumer.isAttached);
  proxy.blackHole('both');
  let isOver = false;
  const stopped = wire.close().then(() => {
    isOver = true;
  });
  // Its heartbeats would notice after two minutes.
  await until('all is closed', () => isOver, { withinMs: 15_000 });
  await stopped;
});
