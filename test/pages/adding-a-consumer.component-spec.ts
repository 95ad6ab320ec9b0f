import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { queueState } from '../fixtures/broker-queues.js';
import { controllerOf, LittleService, libraryOf } from '../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { codeOf, statementsOf } from './page-code.js';

/** The steps of docs/adding-a-consumer.md, in their order. */
const [sendEarlier, keepsUp, sendEarlierKeyed, takeOff, takeOffKeyed] = codeOf('adding-a-consumer.md', 'sql').map(
  (code) => statementsOf(code)[0]!,
);
const library = libraryOf();
const OLD = 'inventory.take-stock';
const NEW = 'payment.write-invoice';
const NEW_QUEUE = `dtx.${NEW}.v1`;
const schema = z.object({ orderId: z.string() });
const about = { name: 'order.placed', version: 1, schema, gid: ({ orderId }: { orderId: string }) => orderId };
const before = library.defineMessage({ ...about, consumers: [OLD] });
const after = library.defineMessage({ ...about, consumers: [OLD, NEW] });
const keyed = { ...about, name: 'order.moved', inOrderOf: { stream: 'order', key: () => 'one' } };
const keyedBefore = library.defineMessage({ ...keyed, consumers: ['inventory.follow-order'] });
const keyedAfter = library.defineMessage({ ...keyed, consumers: ['inventory.follow-order', 'payment.follow-order'] });
/** As the page has it, for these contracts. */
const forKeyed = (statement: string) =>
  statement.replaceAll('order.placed', 'order.moved').replaceAll(NEW, 'payment.follow-order');
const SHORT = { firstMs: 300, factor: 1, capMs: 300 };

let sandbox: Sandbox;
let sender: LittleService;
let receiver: LittleService;
const handled: Record<string, string[]> = { [OLD]: [], [NEW]: [] };
const services: LittleService[] = [];

async function start(
  app: 'order' | 'payment' | 'inventory',
  ...contracts: Array<typeof after>
): Promise<LittleService> {
  const on = (_: unknown, { orderId }: { orderId: string }) =>
    void handled[app === 'payment' ? NEW : OLD]!.push(orderId);
  const methods = contracts.map((contract) => [library.OnMessage(contract), on] as const);
  const controllers = contracts.length > 0 ? [controllerOf(methods)] : [];
  const service = await LittleService.start({ sandbox, library, app, controllers, localMessage: { resend: SHORT } });
  services.push(service);
  return service;
}

const append = (contract: typeof after, orderId: string) =>
  sender.source.transaction((tx) => sender.get(library.LocalMessages).append(tx, contract, { orderId }));

async function row(id: string): Promise<{ state: string; awaiting: string }> {
  const rows = await sql<{ state: string; awaiting: string }>(
    sandbox,
    'order',
    'SELECT state, awaiting FROM dtx_outbox WHERE id = ?',
    [id],
  );
  return rows[0]!;
}
const untilDone = (id: string) => until(`${id} is DONE`, async () => (await row(id)).state === 'DONE');
const openOfNew = async () => Number((await sql<{ open: number }>(sandbox, 'order', keepsUp!))[0]!.open);

beforeAll(async () => {
  sandbox = await freshSandbox('adding_a_consumer', { audited: false });
  sender = await start('order');
  await start('inventory', before, keyedBefore);
});

afterAll(async () => {
  for (const service of services) await service.close();
});

test('before the change a message is DONE without the new consumer', async () => {
  await untilDone(await append(before, 'earlier'));
  expect(handled).toEqual({ [OLD]: ['earlier'], [NEW]: [] });
});

test('step 2: the receiver is deployed first and declares its queue, which gets no message', async () => {
  receiver = await start('payment', after);
  await until('the queue has a consumer', async () => (await queueState(sandbox, NEW_QUEUE))?.consumers);
  await untilDone(await append(before, 'old-sender'));
  expect(handled[NEW]).toEqual([]);
});

test('step 3: messages of the new sender reach both consumers', async () => {
  await untilDone(await append(after, 'new-sender'));
  expect(handled[NEW]).toEqual(['new-sender']);
  expect(handled[OLD]).toEqual(['earlier', 'old-sender', 'new-sender']);
});

test('steps 4 and 5: the earlier messages reach the new consumer once, and no message is handled twice', async () => {
  await sql(sandbox, 'order', sendEarlier!);
  expect(await openOfNew()).toBeGreaterThan(0);
  await until('the new consumer has kept up', async () => (await openOfNew()) === 0);
  expect(handled[NEW]!.toSorted()).toEqual(['earlier', 'new-sender', 'old-sender']);
  expect(handled[OLD]).toEqual(['earlier', 'old-sender', 'new-sender']);
});

test('the other order: messages of a sender that is deployed first wait for the receiver', async () => {
  await receiver.close();
  services.splice(services.indexOf(receiver), 1);
  const id = await append(after, 'without-receiver');
  await until('only the new consumer is awaited', async () => (await row(id)).awaiting === `,${NEW},`);
  expect((await row(id)).state).not.toBe('DONE');
  receiver = await start('payment', after);
  await untilDone(id);
  expect(handled[NEW]).toContain('without-receiver');
});

test('removing: a consumer that is gone is taken off the rows, which are then DONE', async () => {
  await receiver.close();
  services.splice(services.indexOf(receiver), 1);
  const id = await append(after, 'gone');
  await until('only the new consumer is awaited', async () => (await row(id)).awaiting === `,${NEW},`);
  await sql(sandbox, 'order', takeOff!);
  expect(await row(id)).toEqual({ state: 'DONE', awaiting: ',' });
  expect(await openOfNew()).toBe(0);
});

describe('with an order per key', () => {
  const statesOfKey = async () =>
    (await sql<{ state: string }>(sandbox, 'order', 'SELECT state FROM dtx_keyed ORDER BY seq')).map(
      (one) => one.state,
    );
  const untilKeyIsDone = () =>
    until('every message of the key is DONE', async () => (await statesOfKey()).every((state) => state === 'DONE'));

  beforeAll(() => {
    for (const all of Object.values(handled)) all.length = 0;
  });

  test('step 4: the earlier messages reach the new consumer in their order, and later ones after them', async () => {
    for (const id of ['k1', 'k2', 'k3']) await append(keyedBefore, id);
    await untilKeyIsDone();
    await sql(sandbox, 'order', forKeyed(sendEarlierKeyed!));
    await append(keyedAfter, 'k4');
    receiver = await start('payment', keyedAfter);
    await untilKeyIsDone();
    expect(handled).toEqual({ [OLD]: ['k1', 'k2', 'k3', 'k4'], [NEW]: ['k1', 'k2', 'k3', 'k4'] });
  });

  test('removing: a consumer that is gone is taken off the rows, and the key goes on', async () => {
    await receiver.close();
    services.splice(services.indexOf(receiver), 1);
    await append(keyedAfter, 'k5');
    await append(keyedBefore, 'k6');
    await until('the one has handled k5', () => handled[OLD]!.includes('k5'));
    await until('k6 waits', async () => (await statesOfKey()).at(-1) === 'WAITING');
    await until('only the new consumer is awaited', async () => {
      const open = `SELECT id FROM dtx_keyed WHERE state = 'SENT' AND awaiting = ',payment.follow-order,'`;
      return (await sql(sandbox, 'order', open)).length === 1;
    });
    await sql(sandbox, 'order', forKeyed(takeOffKeyed!));
    await untilKeyIsDone();
    expect(handled[OLD]!.at(-1)).toBe('k6');
  });
});
