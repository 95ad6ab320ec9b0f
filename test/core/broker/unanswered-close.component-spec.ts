import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { BrokerConnection } from '../../../libs/dtx/src/core/broker/connection.js';
import { built } from '../../fixtures/built-library.js';
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

/** A network that can fall silent. Unlike `TcpProxy` it then leaves also the end of a connection without an answer. */
async function silentNetwork(): Promise<{ url: string; fallSilent: () => void }> {
  const url = new URL(sandbox.rabbitmq);
  const to = { host: url.hostname, port: Number(url.port) };
  const ends: Array<readonly [client: Socket, broker: Socket]> = [];
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const broker = connect(to);
    for (const socket of [client, broker]) socket.on('error', () => {});
    client.pipe(broker).pipe(client);
    ends.push([client, broker]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of ends.flat()) socket.destroy();
    server.close();
  });
  url.port = String((server.address() as AddressInfo).port);
  const fallSilent = () => {
    for (const [client, broker] of ends) {
      client.unpipe(broker).pause();
      broker.unpipe(client).pause();
    }
  };
  return { url: url.href, fallSilent };
}

test('the socket of a connection that is lost without an end is destroyed', async () => {
  const network = await silentNetwork();
  const reconnect = { firstMs: 20, factor: 1, capMs: 20 };
  const options = { url: network.url, heartbeatSeconds: 1, reconnect, name: 'test', queues: 'classic' };
  const connection: BrokerConnection = new (built('core/broker/connection.js').BrokerConnection)(options);
  onTestFinished(() => connection.close());
  connection.start();
  const opened = await until('it is connected', () => connection.open);
  const { stream } = opened.connection as unknown as { stream: Socket };
  network.fallSilent();
  await until('its heartbeats end it', () => connection.open !== opened);
  await until('its socket is destroyed', () => stream.destroyed, { withinMs: 10_000 });
});
