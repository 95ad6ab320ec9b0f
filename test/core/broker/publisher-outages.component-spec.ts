import { setImmediate as aTurn } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import type { Channel } from 'amqplib';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { ConfirmPublisher } from '../../../libs/dtx/src/core/broker/confirm-publisher.js';
import type { BrokerConnection } from '../../../libs/dtx/src/core/broker/connection.js';
import { built } from '../../fixtures/built-library.js';
import { freshSandbox, type Sandbox } from '../../fixtures/sandbox.js';
import { TcpProxy } from '../../fixtures/tcp-proxy.js';
import { until } from '../../fixtures/until.js';

const TIMEOUT_MS = 600;
const QUEUE = 'dtx.test.publisher.v1';
const warnings: string[] = [];
let sandbox: Sandbox;
let proxy: TcpProxy;
let connection: BrokerConnection;
let publisher: ConfirmPublisher;

beforeAll(async () => {
  sandbox = await freshSandbox('publisher', { audited: false });
  const keep = (...said: unknown[]) => void warnings.push(said.join(' '));
  Logger.overrideLogger({ log: () => {}, error: keep, warn: keep });
});

beforeEach(async () => {
  proxy = await TcpProxy.start(sandbox.rabbitmq);
  const reconnect = { firstMs: 20, factor: 1, capMs: 20 };
  connection = new (built('core/broker/connection.js').BrokerConnection)({
    url: proxy.url,
    heartbeatSeconds: 10,
    reconnect,
    name: 'test',
  });
  publisher = new (built('core/broker/confirm-publisher.js').ConfirmPublisher)(connection, {
    windowMax: 1,
    timeoutMs: TIMEOUT_MS,
  });
  connection.start();
  await until('the publisher is up', () => publisher.isUp);
  warnings.length = 0;
});

afterEach(async () => {
  await connection.close();
  await proxy.close();
});

const publish = (id: string) =>
  publisher.publish(QUEUE, Buffer.from('{}'), { messageId: id, type: 'test', gid: id, scheme: 'test' });
const isBlocked = expect.objectContaining({ name: 'BrokerBlocked' });

test('messages wait for a place in the window within their own time limit and leave the place to others', async () => {
  await publish('declares the queue');
  proxy.blackHole('to-client');
  const ends = await Promise.allSettled(Array.from({ length: 8 }, (_, n) => publish(`unanswered-${n}`)));
  const names = ends.map((end) => end.status === 'rejected' && end.reason.name);
  expect(new Set(names)).toEqual(new Set(['Unconfirmed', 'BrokerUnavailable']));
  // The message in the window may have arrived. The others ran out of time before they were sent: if each had waited for
  // the one before it, all would have been sent in turn.
  expect(names.filter((name) => name === 'Unconfirmed')).toHaveLength(1);
  proxy.heal();
  await until('it publishes again', () => publish('after').then(() => true));
  // Each has given its place back, or never had one.
  await Promise.all(Array.from({ length: 20 }, (_, n) => publish(`after-${n}`)));
});

test('a message without an answer keeps its place in the window when its time limit is over', async () => {
  await publish('declares the queue');
  proxy.blackHole('to-client');
  const errors: unknown[] = [];
  for (let n = 0; n < 5; n++) errors.push(await publish(`unanswered-${n}`).catch((error) => error));
  const isFull = expect.objectContaining({
    name: 'BrokerUnavailable',
    message: expect.stringContaining('publishWindowMax 1 messages wait for a confirm'),
  });
  // amqplib keeps a message until its confirm. Without the limit, memory grows for as long as the broker is silent.
  expect(errors).toEqual([expect.objectContaining({ name: 'Unconfirmed' }), isFull, isFull, isFull, isFull]);
  proxy.heal();
  await until('it publishes again', () => publish('after').then(() => true));
  await Promise.all(Array.from({ length: 20 }, (_, n) => publish(`after-${n}`)));
});

test('the close of a connection does not wait for messages without an answer', async () => {
  await publish('declares the queue');
  proxy.blackHole('to-client');
  const ends = Promise.allSettled(Array.from({ length: 4 }, (_, n) => publish(`unanswered-${n}`)));
  let isClosed = false;
  void connection.close().then(() => {
    isClosed = true;
  });
  await until('it is closed', () => isClosed, { withinMs: 10_000 });
  expect(new Set((await ends).map(({ status }) => status))).toEqual(new Set(['rejected']));
});

test('a publish to a broker that blocks publishers fails at once', async () => {
  const told: string[] = [];
  publisher.on('down', () => told.push('down')).on('up', () => told.push('up'));
  await publish('before');
  const raw = (connection.open as unknown as { connection: NodeJS.EventEmitter }).connection;
  raw.emit('blocked', 'low on memory');
  expect(publisher.isUp).toBe(false);
  const refusals: unknown[] = [];
  for (const call of [publish('blocked'), publisher.inspect(QUEUE)]) call.catch((error) => refusals.push(error));
  await aTurn(); // of the event loop, in which no time limit can run out
  expect(refusals).toEqual([isBlocked, isBlocked]);
  raw.emit('unblocked');
  expect(publisher.isUp).toBe(true);
  await publish('after');
  expect(told).toEqual(['down', 'up']);
});

test('a new connection after a blocked one is not blocked', async () => {
  const told: string[] = [];
  publisher.on('down', () => told.push('down')).on('up', () => told.push('up'));
  const lost = connection.open;
  (lost as unknown as { connection: NodeJS.EventEmitter }).connection.emit('blocked', 'low on disk');
  proxy.reset();
  await until('another connection is there', () => publisher.isUp && connection.open !== lost);
  await publish('after');
  expect(told).toEqual(['down', 'up']);
});

test('a channel is not reopened on a lost connection', async () => {
  await publish('declares the queue');
  const lost = connection.open;
  // The broker closes the channel for this. The connection is lost before the channel is opened again.
  const { channel } = publisher as unknown as { channel: Channel };
  await expect(channel.checkQueue('dtx.test.absent.v1')).rejects.toMatchObject({ code: 404 });
  proxy.reset();
  await until('another connection is there', () => publisher.isUp && connection.open !== lost);
  warnings.length = 0;
  const since = performance.now();
  await until('a second has passed', () => publish('meanwhile').then(() => performance.now() - since > 1_000));
  expect(warnings).toEqual([]);
});
