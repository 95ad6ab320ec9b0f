import { Logger } from '@nestjs/common';
import { connect } from 'amqplib';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { management } from '../../../tools/src/servers/broker-api.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { TcpProxy } from '../../fixtures/tcp-proxy.js';
import { until } from '../../fixtures/until.js';
import { Administrator } from './broker-administrator.js';
import { Wire } from './broker-clients.js';

/** Two proxies before one broker are the nodes of a cluster. A queue that one has declared is there at the other. */
const logged: string[] = [];
let sandbox: Sandbox;
let admin: Administrator;
let nodes: [TcpProxy, TcpProxy];

beforeAll(async () => {
  sandbox = await freshSandbox('broker_nodes', { audited: false });
  admin = await Administrator.of(sandbox);
  const keep = (...said: unknown[]) => void logged.push(said.join(' '));
  Logger.overrideLogger({ log: keep, error: keep, warn: keep });
});

afterAll(() => admin.close(['nodes-nobody']));

beforeEach(async () => {
  const started: [TcpProxy, TcpProxy] = [
    await TcpProxy.start(sandbox.rabbitmq),
    await TcpProxy.start(sandbox.rabbitmq),
  ];
  nodes = started;
  onTestFinished(async () => {
    for (const node of started) await node.close();
  });
  logged.length = 0;
});

function wireTo(urls: string | readonly string[]): Wire {
  const wire = new Wire(urls);
  onTestFinished(() => wire.close());
  return wire;
}

const urls = () => nodes.map(({ url }) => url);
const nameOf = ({ url }: TcpProxy) => new URL(url).host;
/** The node with the connection, then the other one. */
const inUse = () => (nodes[0].open() > 0 ? nodes : ([nodes[1], nodes[0]] as const));
const upAt = (wire: Wire) => until('the publisher is up', () => wire.publisher.isUp && inUse());

test('publishing and consuming go on at the other node when the node in use is lost, there and back', async () => {
  const wire = wireTo(urls().join());
  const arrived = new Set<string>();
  await upAt(wire);
  const consumer = wire.consume('dtx.test.moving.v1', async ({ message, ack }) => {
    arrived.add(String(message.properties.messageId));
    ack();
  });
  await until('it is attached', () => consumer.isAttached);
  for (const id of ['there', 'back']) {
    const [lost, other] = inUse();
    const since = performance.now();
    lost.cut();
    await until('the other one has the connection', () => other.open() === 1 && wire.publisher.isUp);
    expect(performance.now() - since).toBeLessThan(3_000);
    await wire.publish('dtx.test.moving.v1', id);
    await until('it has arrived', () => arrived.has(id));
    expect(logged.join('\n')).toContain(`connected to ${nameOf(other)}`);
    lost.heal();
  }
  expect(logged.filter((line) => line.includes('lost the connection to RabbitMQ'))).toHaveLength(2);
});

test('control: a connection with one URL stays away with its node', async () => {
  const wire = wireTo(nodes[0].url);
  await upAt(wire);
  nodes[0].cut();
  await until('it has tried again several times', () => nodes[0].counts.refused >= 5);
  expect(wire.publisher.isUp).toBe(false);
  expect(nodes[1].counts.accepted).toBe(0);
  await expect(wire.publish('dtx.test.moving.v1', 'one')).rejects.toThrow(
    `no connection to RabbitMQ, reconnecting: ${nameOf(nodes[0])}: `,
  );
});

test('connections begin at a random node', async () => {
  const seen = new Set<TcpProxy>();
  await until('both were the first', async () => {
    const wire = new Wire(urls());
    seen.add((await upAt(wire))[0]);
    await wire.close();
    await until('it has closed', () => nodes.every((node) => node.open() === 0));
    return seen.size === 2;
  });
});

test('a node that is down at the start is passed over, with a line that names it', async () => {
  nodes[0].cut();
  await until('its line is there', async () => {
    const wire = new Wire(urls());
    expect((await upAt(wire))[0]).toBe(nodes[1]);
    await wire.close();
    return logged.some((line) => line.includes(`cannot connect to RabbitMQ, retrying: ${nameOf(nodes[0])}: `));
  });
});

test('without any node it asks all in turn, logs each once, and connects to the first that is back', async () => {
  for (const node of nodes) node.cut();
  const wire = wireTo(urls());
  await until('each was asked several times', () => nodes.every(({ counts }) => counts.refused >= 4));
  const [a, b] = nodes.map(({ counts }) => counts.refused) as [number, number];
  expect(Math.abs(a - b)).toBeLessThanOrEqual(1);
  for (const node of nodes)
    expect(logged.filter((line) => line.includes(`retrying: ${nameOf(node)}: `))).toHaveLength(1);
  nodes[1].heal();
  await upAt(wire);
  await wire.publish('dtx.test.moving.v1', 'again');
});

const withPath = (url: string, vhost: string) => Object.assign(new URL(url), { pathname: `/${vhost}` }).href;
const lineWith = (text: RegExp) => until(`the log has ${text}`, () => logged.find((line) => text.test(line)));

test('control: amqplib itself hides why a virtual host is refused', async () => {
  await expect(connect(withPath(nodes[0].url, 'absent'))).rejects.toThrow(
    /^Expected ConnectionOpenOk; got <ConnectionClose channel:0>$/,
  );
});

test('a missing virtual host is logged and reported in the words of the broker, with what to do', async () => {
  const wire = wireTo(urls().map((url) => withPath(url, 'absent')));
  const words = /NOT_ALLOWED - vhost absent not found; create it with rabbitmqctl add_vhost/;
  const line = await lineWith(words);
  expect(line).toMatch(/cannot connect to RabbitMQ, retrying: 127\.0\.0\.1:\d+: NOT_ALLOWED/);
  await expect(wire.publish('dtx.test.moving.v1', 'one')).rejects.toThrow(words);
  expect(wire.consume('dtx.test.moving.v1', async () => {}).problem).toMatch(words);
});

test('a refused account and a virtual host without rights are logged with the words of the broker', async () => {
  const { password } = new URL(sandbox.rabbitmq);
  wireTo(Object.assign(new URL(nodes[0].url), { password: 's3cr3t-wrong' }).href);
  await lineWith(/ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.*; check user and password/);
  await management(sandbox.management, 'PUT', '/users/nodes-nobody', { password: 'nobody-secret', tags: '' });
  wireTo(Object.assign(new URL(nodes[0].url), { username: 'nodes-nobody', password: 'nobody-secret' }).href);
  await lineWith(/NOT_ALLOWED - access to vhost '\w+' refused for user 'nodes-nobody'; grant it with rabbitmqctl/);
  for (const secret of [password, 's3cr3t-wrong', 'nobody-secret']) expect(logged.join('\n')).not.toContain(secret);
});

test('a close by an operator is logged in the words of the broker, and the connection moves on', async () => {
  const wire = wireTo(urls());
  const [first, other] = await upAt(wire);
  const path = `/vhosts/${encodeURIComponent(sandbox.vhost)}/connections`;
  type Listed = Array<{ name: string; client_properties?: { connection_name?: string } }>;
  const opened = await until('the broker lists the connection', async () => {
    const all = (await management(sandbox.management, 'GET', path)) as Listed;
    return all.find(({ client_properties: about }) => about?.connection_name === 'wire')?.name;
  });
  await management(sandbox.management, 'DELETE', `/connections/${encodeURIComponent(opened)}`);
  await until('it is at the other node', () => first.open() === 0 && other.open() === 1 && wire.publisher.isUp);
  await lineWith(/lost the connection to RabbitMQ, reconnecting: 127\.0\.0\.1:\d+: CONNECTION_FORCED - /);
});
