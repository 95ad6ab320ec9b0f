import { type ChannelModel, connect } from 'amqplib';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { ConfirmPublisher } from '../../../libs/dtx/src/core/broker/confirm-publisher.js';
import { built } from '../../fixtures/built-library.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { PrivateBroker } from '../../fixtures/private-broker.js';
import { type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const PREFETCH = 4;
const MESSAGES = 40;
const KB = 1_024;
const library = libraryOf();
let broker: PrivateBroker;
let sandbox: Sandbox;

beforeAll(async () => {
  broker = await PrivateBroker.start('broker');
  sandbox = await broker.sandbox('private_broker');
}, 180_000);

afterAll(() => broker?.stop());

async function start(methods: Parameters<typeof controllerOf>[0]): Promise<LittleService> {
  const core = { prefetch: PREFETCH, scanIntervalMs: 50, leaseMs: 1_000, publishTimeoutMs: 2_000 };
  const controllers = [controllerOf(methods)];
  const localMessage = { attemptsMax: 3, resend: { firstMs: 5_000, factor: 1, capMs: 5_000 } };
  const service = await LittleService.start({ sandbox, library, controllers, core, localMessage });
  onTestFinished(() => service.close());
  return service;
}

async function append(service: LittleService, contract: ReturnType<typeof contractOf>, texts: readonly string[]) {
  const messages = service.get(library.LocalMessages);
  await service.source.transaction(async (tx) => {
    for (const [n, text] of texts.entries())
      await messages.append(tx, contract, { gid: `${contract.name}-${n}`, text });
  });
}

interface Row {
  readonly gid: string;
  readonly state: string;
  readonly attempts: number;
  readonly last_error: string | null;
}
const sent = ({ name }: { name: string }) =>
  sql<Row>(sandbox, 'payment', 'SELECT gid, state, attempts, last_error FROM dtx_outbox WHERE contract = ?', [name]);
const handled = async (name: string) => {
  const query = `SELECT COUNT(*) AS n FROM dtx_inbox WHERE consumer = ? AND state = 'HANDLED'`;
  return Number((await sql<{ n: number }>(sandbox, 'payment', query, [`payment.${name}`]))[0]!.n);
};

async function administrator(): Promise<ChannelModel> {
  const connection = await connect(sandbox.rabbitmq);
  onTestFinished(() => connection.close());
  return connection;
}

test('consumers work off their queues while the broker is short of memory, and every message is sent and receipted after it', async () => {
  const contract = contractOf(library, 'in-alarm');
  let letGo!: () => void;
  const gate = new Promise<void>((open) => {
    letGo = open;
  });
  const service = await start([[library.OnMessage(contract), () => gate]]);
  const channel = await (await administrator()).createChannel();
  const queue = 'dtx.payment.in-alarm.v1.quorum';
  await append(service, contract, Array(MESSAGES).fill('before'));
  await until(
    'all are in the broker',
    async () => (await channel.checkQueue(queue)).messageCount === MESSAGES - PREFETCH,
  );
  await broker.ctl('set_vm_memory_high_watermark', 'absolute', '1MiB');
  await append(service, contract, ['during']);
  await until('the service knows of the alarm', () => !service.get(library.Broker).publisher.isUp);
  letGo();
  await until('all are handled', async () => (await handled('in-alarm')) === MESSAGES, { withinMs: 60_000 });
  await until('none is left', async () => (await channel.checkQueue(queue)).messageCount === 0);
  expect((await sent(contract)).filter(({ state }) => state === 'DONE')).toEqual([]);
  await broker.ctl('set_vm_memory_high_watermark', '0.6');
  const isDone = async () => (await sent(contract)).every(({ state }) => state === 'DONE');
  await until('each has its receipt', isDone, { withinMs: 60_000 });
  expect((await sent(contract)).length).toBe(MESSAGES + 1);
});

test('a message above the size limit of the broker is parked by name, and the messages behind it are sent', async () => {
  await broker.ctl('eval', `application:set_env(rabbit, max_message_size, ${64 * KB}).`);
  await broker.ctl('eval', `persistent_term:put(max_message_size, ${64 * KB}).`);
  const contract = contractOf(library, 'large');
  const service = await start([[library.OnMessage(contract), async () => {}]]);
  await append(service, contract, ['x'.repeat(100 * KB), ...Array(MESSAGES).fill('small')]);
  const rows = await until(
    'all are sent or parked',
    async () => {
      const all = await sent(contract);
      return all.every(({ state }) => ['DONE', 'PARKED'].includes(state)) && all;
    },
    { withinMs: 60_000 },
  );
  const parked = rows.filter(({ state }) => state === 'PARKED');
  expect(parked.map(({ gid }) => gid)).toEqual([`${contract.name}-0`]);
  expect(parked[0]).toMatchObject({
    attempts: 3,
    last_error: expect.stringMatching(/has \d+ bytes.*65536.*max_message_size/),
  });
  const alerts = await sql(sandbox, 'payment', 'SELECT id FROM dtx_alert WHERE gid = ?', [parked[0]!.gid]);
  expect(alerts).toHaveLength(1);
});

test('a queue that does not answer takes the whole window only until its channel is replaced', async () => {
  const [silent, other] = ['dtx.test.silent.v1', 'dtx.test.other.v1'];
  const options = { url: sandbox.rabbitmq, heartbeatSeconds: 60, name: 'test', queues: 'classic' };
  const reconnect = { firstMs: 20, factor: 1, capMs: 20 };
  const connection = new (built('core/broker/connection.js').BrokerConnection)({ ...options, reconnect });
  onTestFinished(() => connection.close());
  const publisher: ConfirmPublisher = new (built('core/broker/confirm-publisher.js').ConfirmPublisher)(connection, {
    windowMax: 5,
    timeoutMs: 1_000,
    leaseMs: 1_000,
  });
  connection.start();
  await until('the publisher is up', () => publisher.isUp);
  const publish = (queue: string, id: string) =>
    publisher.publish(queue, Buffer.from('{}'), { messageId: id, type: 'test', gid: id, scheme: 'test' });
  for (const queue of [silent, other]) await publish(queue, 'declares the queue');
  const process = `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"${sandbox.vhost}">>, queue, <<"${silent}">>)),`;
  await broker.ctl('eval', `${process} sys:suspend(amqqueue:get_pid(Q)).`);
  onTestFinished(() => broker.ctl('eval', `${process} sys:resume(amqqueue:get_pid(Q)).`).then(() => {}));
  const opened = connection.open;
  const ends = await Promise.allSettled(Array.from({ length: 5 }, (_, n) => publish(silent, `silent-${n}`)));
  expect(ends.map((end) => end.status === 'rejected' && end.reason.name)).toEqual(Array(5).fill('Unconfirmed'));
  await until('messages to other queues are confirmed', () => publish(other, 'other').then(() => true));
  expect(connection.open).toBe(opened);
});
