import { type Channel, type ChannelModel, connect } from 'amqplib';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const PREFETCH = 4;
const MESSAGES = 40;
const REPLY = 'dtx.probe.receipts.v1';
const library = libraryOf();
let sandbox: Sandbox;
let admin: ChannelModel;
let channel: Channel;

beforeAll(async () => {
  sandbox = await freshSandbox('alarm', { audited: false });
  admin = await connect(sandbox.rabbitmq);
  channel = await admin.createChannel();
  await channel.assertQueue(REPLY, { durable: true });
});

afterAll(() => admin.close());

/** What an alarm does to one connection that publishes: the broker says so, and reads nothing from it any more. */
function alarmOf(service: LittleService) {
  const { publishing } = service.get(library.Broker) as unknown as {
    publishing: { open: { connection: NodeJS.EventEmitter } };
  };
  publishing.open.connection.emit('blocked', 'low on memory');
  return { end: () => publishing.open.connection.emit('unblocked') };
}

async function start(methods: Parameters<typeof controllerOf>[0]): Promise<LittleService> {
  const core = { prefetch: PREFETCH, scanIntervalMs: 50, leaseMs: 500 };
  const service = await LittleService.start({ sandbox, library, controllers: [controllerOf(methods)], core });
  onTestFinished(() => service.close());
  return service;
}

async function send(name: string): Promise<string> {
  const queue = `dtx.payment.${name}.v1.quorum`;
  // A quorum queue without a leader yet loses messages that are published without a confirm. A consumer needs the leader.
  await until('the queue has its consumer', async () => {
    const look = await admin.createChannel();
    look.on('error', () => {});
    const { consumerCount } = await look.checkQueue(queue);
    await look.close();
    return consumerCount > 0;
  });
  for (let n = 0; n < MESSAGES; n++) {
    const messageId = `${name}-${n}`;
    const properties = { messageId, type: `test.${name}.v1`, correlationId: messageId, replyTo: REPLY };
    const headers = { 'dtx-scheme': 'local-message' };
    channel.sendToQueue(queue, Buffer.from(JSON.stringify({ gid: messageId })), { ...properties, headers });
  }
  return queue;
}

const inState = async (name: string, state: string) => {
  const query = 'SELECT COUNT(*) AS n FROM dtx_inbox WHERE consumer = ? AND state = ?';
  return (await sql<{ n: number }>(sandbox, 'payment', query, [`payment.${name}`, state]))[0]!.n;
};

/** Ids that a receipt has come for. */
async function receipted(): Promise<Set<string>> {
  const ids = new Set<string>();
  await channel.consume(REPLY, (message) => {
    for (const { messageId } of JSON.parse(message!.content.toString()).receipts) ids.add(messageId);
    channel.ack(message!);
  });
  return ids;
}

test('consumers work off their queues during an alarm of the broker and send the receipts after it', async () => {
  const contract = contractOf(library, 'while-blocked');
  const service = await start([[library.OnMessage(contract), async () => {}]]);
  const alarm = alarmOf(service);
  const queue = await send('while-blocked');
  await until('all are handled', async () => (await inState('while-blocked', 'HANDLED')) === MESSAGES);
  await until('none is left', async () => (await channel.checkQueue(queue)).messageCount === 0);
  alarm.end();
  const ids = await receipted();
  await until('each has its receipt', () => ids.size === MESSAGES);
});

test('a step before the ack waits for the end of an alarm of the broker', async () => {
  const contract = contractOf(library, 'told-later');
  let told = 0;
  let service: LittleService | undefined;
  const tell = async ({ gid }: { gid: string }) => {
    const envelope = { messageId: gid, type: 'test', gid, scheme: 'test' };
    await service!.get(library.Broker).publisher.publish('dtx.test.told.v1', Buffer.from('{}'), envelope);
    told++;
  };
  service = await start([
    [library.OnMessage(contract), async () => {}],
    [library.BeforeAck(contract), tell],
  ]);
  const alarm = alarmOf(service);
  const queue = await send('told-later');
  await until('all have come', async () => (await inState('told-later', 'RETRYING')) === MESSAGES);
  await until('none is left', async () => (await channel.checkQueue(queue)).messageCount === 0);
  expect(told).toBe(0);
  alarm.end();
  await until('all are told', () => told === MESSAGES);
  await until('all are handled', async () => (await inState('told-later', 'HANDLED')) === MESSAGES);
});
