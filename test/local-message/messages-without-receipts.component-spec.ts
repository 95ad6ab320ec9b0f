import { type ChannelModel, type ConsumeMessage, connect } from 'amqplib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { Contract } from '../../libs/dtx/src/index.js';
import { controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';

const library = libraryOf();
const schema = z.object({ gid: z.string(), text: z.string().optional() });
type Payload = z.output<typeof schema>;
const gid = (message: Payload) => message.gid;
const define = (name: string, more: object): Contract<Payload> =>
  library.defineMessage({ name: `test.${name}`, version: 1, schema, gid, receipts: false, ...more } as never) as never;

/** The queue of a program that knows the wire format, and sends no receipts. */
const foreign = define('foreign', { consumers: ['billing.foreign'], replicated: true });
/** A consumer of the library under the same rules. */
const own = define('own', { consumers: ['payment.own'] });
/** An exchange that other programs have declared. */
const exchanged = define('exchanged', { publishTo: { exchange: 'shop.events', routingKey: 'order.placed' } });
const unbound = define('unbound', { publishTo: { exchange: 'shop.events', routingKey: 'order.unbound' } });
const missing = define('missing', { publishTo: { exchange: 'shop.missing', routingKey: 'order.placed' } });
const byQueue = define('by-queue', { publishTo: { exchange: '', routingKey: 'their.queue' } });

const handled: string[] = [];
let sandbox: Sandbox;
let service: LittleService;
let broker: ChannelModel;

beforeAll(async () => {
  sandbox = await freshSandbox('without_receipts', { audited: false });
  broker = await connect(sandbox.rabbitmq);
  const channel = await broker.createChannel();
  await channel.assertExchange('shop.events', 'topic', { durable: true });
  await channel.assertQueue('their.queue', { durable: true });
  await channel.bindQueue('their.queue', 'shop.events', 'order.placed');
  // Both sides declare it with these arguments, so the program may start first.
  const quorum = { 'x-queue-type': 'quorum', 'x-delivery-limit': 1_000_000 };
  await channel.assertQueue('dtx.billing.foreign.v1', { durable: true, arguments: quorum });
  const onMessage = library.OnMessage(own);
  service = await LittleService.start({
    sandbox,
    library,
    controllers: [controllerOf([[onMessage, async (_tx: unknown, message: Payload) => handled.push(message.gid)]])],
    localMessage: { attemptsMax: 2, resend: { firstMs: 100, factor: 1, capMs: 100 } },
    core: { leaseMs: 300 },
  });
});

afterAll(async () => {
  await service?.close();
  await broker?.close();
});

const append = (contract: Contract<Payload>, payload: Payload) =>
  service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, payload));

const appendLater = (contract: Contract<Payload>, payload: Payload) =>
  service.source.transaction((tx) => service.get(library.LocalMessages).append(tx, contract, payload, { dueInMs: 0 }));
const cancel = (contract: Contract<Payload>, id: string) =>
  service.source.transaction((tx) => service.get(library.LocalMessages).cancel(tx, contract, { id }));

interface Row {
  state: string;
  attempts: number;
  last_error: string | null;
  sent_at: Date | null;
  next_attempt_at: Date | null;
}
const rowOf = async (id: string) =>
  (await sql<Row>(sandbox, 'payment', 'SELECT * FROM dtx_outbox WHERE id = ?', [id]))[0]!;
const inState = (id: string, state: string) =>
  until(`${id} is ${state}`, async () => {
    const row = await rowOf(id);
    return row.state === state && row;
  });
const openAlerts = (id: string) =>
  sql(sandbox, 'payment', 'SELECT id FROM dtx_alert WHERE subject_id = ? AND closed_at IS NULL', [id]);

/** Takes the next message of a queue, as a foreign program does. */
async function take(queue: string): Promise<ConsumeMessage['properties'] & { body: unknown }> {
  const channel = await broker.createChannel();
  const message = await until(`a message in ${queue}`, () => channel.get(queue, { noAck: true }));
  await channel.close();
  return { ...message.properties, body: JSON.parse(message.content.toString()) };
}

test('a message for a foreign consumer is done when the broker has confirmed it, and asks for no receipt', async () => {
  const id = await append(foreign, { gid: 'f1', text: 'hello' });
  const message = await take('dtx.billing.foreign.v1');
  expect(message).toMatchObject({ messageId: id, type: 'test.foreign.v1', correlationId: 'f1', replyTo: undefined });
  expect(message.body).toEqual({ gid: 'f1', text: 'hello' });
  expect(await inState(id, 'DONE')).toMatchObject({ sent_at: expect.any(Date), next_attempt_at: null });
});

test('a queue of a foreign consumer that does not run is watched', async () => {
  const watched = await sql(sandbox, 'payment', 'SELECT kind, scheme FROM dtx_queue WHERE name = ?', [
    'dtx.billing.foreign.v1',
  ]);
  expect(watched).toEqual([{ kind: 'replicated', scheme: 'local-message' }]);
});

test('a consumer of the library handles a message of a contract without receipts', async () => {
  const id = await append(own, { gid: 'o1' });
  await until('it is handled', () => handled.includes('o1'));
  await inState(id, 'DONE');
});

test('a message is published into an existing exchange with its routing key', async () => {
  const id = await append(exchanged, { gid: 'e1' });
  expect(await take('their.queue')).toMatchObject({ messageId: id, type: 'test.exchanged.v1', body: { gid: 'e1' } });
  await inState(id, 'DONE');
});

test('a message is published into an existing queue of any name', async () => {
  const id = await append(byQueue, { gid: 'q1' });
  expect(await take('their.queue')).toMatchObject({ messageId: id, body: { gid: 'q1' } });
  await inState(id, 'DONE');
});

test('a message that its exchange leads to no queue is retried and parked, and is sent after the binding exists', async () => {
  const id = await append(unbound, { gid: 'u1' });
  const { last_error } = await inState(id, 'PARKED');
  expect(last_error).toBe(
    'cannot publish to exchange "shop.events" with routing key "order.unbound": it leads to no queue',
  );
  expect(await openAlerts(id)).toHaveLength(1);
  const channel = await broker.createChannel();
  await channel.bindQueue('their.queue', 'shop.events', 'order.unbound');
  await channel.close();
  for (const source of service.get(library.Operations).sources) await source.retry(id, {});
  expect(await take('their.queue')).toMatchObject({ messageId: id });
  await inState(id, 'DONE');
  expect(await openAlerts(id)).toEqual([]);
});

test('a message for a missing exchange is parked with the name, and other messages are not disturbed', async () => {
  const lost = await append(missing, { gid: 'm1' });
  const others = await Promise.all(Array.from({ length: 20 }, (_, n) => append(byQueue, { gid: `n${n}` })));
  expect((await inState(lost, 'PARKED')).last_error).toMatch(/^exchange shop\.missing does not exist; create it/);
  for (const id of others) expect(await inState(id, 'DONE')).toMatchObject({ attempts: 0, last_error: null });
});

test('a row that its instance did not mark is sent again with the same message id', async () => {
  const channel = await broker.createChannel();
  await channel.purgeQueue('their.queue');
  await channel.close();
  const id = await append(exchanged, { gid: 'again' });
  await inState(id, 'DONE');
  await take('their.queue');
  await sql(
    sandbox,
    'payment',
    `UPDATE dtx_outbox SET state = 'PENDING', done_at = NULL, next_attempt_at = UTC_TIMESTAMP(3) WHERE id = ?`,
    [id],
  );
  expect(await take('their.queue')).toMatchObject({ messageId: id });
  await inState(id, 'DONE');
});

test('a half message refuses a contract without receipts', async () => {
  const halves = service.get(library.HalfMessages);
  await expect(halves.send(foreign, { gid: 'h1' }, async () => {})).rejects.toThrow(/contract has receipts: false/);
});

test.each([
  ['an exchange', exchanged],
  ['the queue of another program', foreign],
])(
  'a cancel of a message to %s says SENT after the confirm, since nothing shows that it was handled',
  async (_to, contract) => {
    const id = await appendLater(contract, { gid: 'not-known' });
    await inState(id, 'DONE');
    for (let n = 0; n < 2; n++) expect(await cancel(contract, id)).toBe('SENT');
  },
);
