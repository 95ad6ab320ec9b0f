// A redelivery is stored before its handler runs. The row that it creates says nothing about an earlier handling, so the
// checks of type, id and age come before it. Real redeliveries come from a client that takes a message and dies.
import { randomUUID } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { connect } from 'amqplib';
import { afterEach, beforeAll, expect, onTestFinished, test } from 'vitest';
import { z } from 'zod';
import type * as Testing from '../../../libs/dtx/src/testing/index.js';
import { built } from '../../fixtures/built-library.js';
import { contractOf, controllerOf, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { QueueProbe } from '../../fixtures/queue-probe.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';

const library = libraryOf();
const { deliver }: typeof Testing = built('testing/index.js');
const TOO_OLD_MS = 9 * 86_400_000;
const WAYS = ['inbox', 'redis'] as const;
type Way = (typeof WAYS)[number];
const byInbox = contractOf(library, 'by-inbox');
const byRedis = contractOf(library, 'by-redis');
const seen: string[] = [];
const pickyOf = (name: string) =>
  library.defineMessage({
    name: `test.${name}`,
    version: 1,
    schema: z.object({ gid: z.string().refine((gid) => seen.push(`schema ${gid}`) > 0) }),
    consumers: [`payment.${name}`],
    gid: ({ gid }) => gid,
  });
const picky = pickyOf('picky');
const pickyByRedis = pickyOf('picky-by-redis');
const QUEUES = ['by-inbox', 'by-redis', 'picky', 'picky-by-redis'];
let sandbox: Sandbox;
let probe: QueueProbe;
let service: LittleService | undefined;

beforeAll(async () => {
  sandbox = await freshSandbox('redelivered', { audited: false });
  probe = await QueueProbe.open(sandbox);
  await start();
  for (const name of QUEUES) await until(`${name} has a queue`, () => isDeclared(name));
  await stop();
  return () => probe.close();
});
afterEach(async () => {
  await stop();
  seen.length = 0;
});

async function start(): Promise<LittleService> {
  const handle = async (_tx: unknown, { gid }: { gid: string }) => void seen.push(`handler ${gid}`);
  const methods = [
    [library.OnMessage(byInbox), handle],
    [library.OnMessage(byRedis, { duplicates: 'redis' }), handle],
    [library.OnMessage(picky), handle],
    [library.OnMessage(pickyByRedis, { duplicates: 'redis' }), handle],
  ] as const;
  service = await LittleService.start({ sandbox, library, controllers: [controllerOf(methods)] });
  return service;
}

async function stop(): Promise<void> {
  await service?.close();
  service = undefined;
}

const queueOf = (name: string) => `dtx.payment.${name}.v1`;
const isDeclared = async (name: string) =>
  (await probe.exists(`${queueOf(name)}.quorum`)) || probe.exists(queueOf(name));

interface Sent {
  readonly gid: string;
  readonly messageId?: string;
  readonly type?: string;
  readonly ageMs?: number;
}

function publish(name: string, { gid, messageId, type = `test.${name}.v1`, ageMs }: Sent): Promise<void> {
  const madeAt = ageMs === undefined ? {} : { 'dtx-made-at': String(Date.now() - ageMs) };
  const headers = { 'dtx-scheme': 'local-message', ...madeAt };
  const id = messageId === undefined ? {} : { messageId };
  return probe.publish(queueOf(name), JSON.stringify({ gid }), { type, correlationId: gid, headers, ...id });
}

/** Delivers all messages of a queue to a client that dies before its acks. The broker delivers them again. */
async function loseAcks(name: string): Promise<void> {
  const connection = await connect(sandbox.rabbitmq);
  const channel = await connection.createChannel();
  const queue = (await probe.exists(`${queueOf(name)}.quorum`)) ? `${queueOf(name)}.quorum` : queueOf(name);
  let taken = 0;
  while (await channel.get(queue)) taken++;
  expect(taken).toBeGreaterThan(0);
  await connection.close();
}

async function redeliver(name: string, message: Sent): Promise<void> {
  await publish(name, message);
  await loseAcks(name);
}

interface Row {
  readonly id: string;
  readonly state: string;
  readonly last_error: string | null;
}
const rowsOf = (gid: string) =>
  sql<Row>(sandbox, 'payment', 'SELECT id, state, last_error FROM dtx_inbox WHERE gid = ?', [gid]);
const untilEnded = (gid: string) =>
  until(`${gid} is handled or parked`, async () => {
    const rows = await rowsOf(gid);
    return rows.length > 0 && rows.every(({ state }) => state !== 'RETRYING') && rows;
  });
const openAlerts = async (gid: string) =>
  (await sql(sandbox, 'payment', 'SELECT id FROM dtx_alert WHERE gid = ? AND closed_at IS NULL', [gid])).length;
/** An id as a sender made it at that time. */
const oldId = () => library.newId(Date.now() - TOO_OLD_MS);

test('a redelivered message that is too old is parked, since its row may be purged', async () => {
  const [gid, messageId] = ['purged', randomUUID()];
  await start();
  await publish('by-inbox', { gid, messageId, ageMs: 0 });
  await untilEnded(gid);
  await stop();
  await sql(sandbox, 'payment', 'DELETE FROM dtx_inbox WHERE gid = ?', [gid]);
  await redeliver('by-inbox', { gid, messageId, ageMs: TOO_OLD_MS });
  await start();
  expect(await untilEnded(gid)).toMatchObject([{ state: 'PARKED', last_error: expect.stringMatching(/^older than/) }]);
  expect(seen).toEqual([`handler ${gid}`]);
  expect(await openAlerts(gid)).toBe(1);
});

const KINDS: Array<{ kind: string; problem: RegExp; of: (way: Way) => Partial<Sent> }> = [
  { kind: 'too old', problem: /^older than inbox\.retentionMs/, of: () => ({ messageId: oldId() }) },
  { kind: 'without an id', problem: /^no valid message id/, of: () => ({}) },
  { kind: 'of another type', problem: /^expected a message of type/, of: () => ({ messageId: 'x', type: 'other.v1' }) },
];
const CASES = WAYS.flatMap((way) => KINDS.map((kind) => ({ way, ...kind })));

test.each(CASES)('a redelivered message $kind is parked without its handler (duplicates: $way)', async (one) => {
  const gid = `${one.kind}-${one.way}`.replaceAll(' ', '-');
  await redeliver(`by-${one.way}`, { gid, ...one.of(one.way) });
  await start();
  expect(await untilEnded(gid)).toMatchObject([{ state: 'PARKED', last_error: expect.stringMatching(one.problem) }]);
  expect(seen).toEqual([]);
  expect(await openAlerts(gid)).toBe(1);
});

test.each(WAYS)(
  'of two equal messages without an id none is lost: the redelivered one is parked (duplicates: %s)',
  async (way) => {
    const gid = `equal-${way}`;
    await redeliver(`by-${way}`, { gid });
    await start();
    await publish(`by-${way}`, { gid });
    await until('both are delivered', async () => (await probe.waiting(queueOf(`by-${way}`))) === 0);
    await untilEnded(gid);
    // A delivery without its ack would be in the queue again.
    await stop();
    expect(await probe.waiting(queueOf(`by-${way}`))).toBe(0);
    expect(await rowsOf(gid)).toMatchObject([{ state: 'PARKED' }]);
    expect([seen, await openAlerts(gid)]).toEqual([[], 1]);
  },
);

test.each(WAYS)(
  'a redelivered message that is not too old is handled by the retry loop (duplicates: %s)',
  async (way) => {
    const gid = `young-${way}`;
    await redeliver(`by-${way}`, { gid, messageId: library.newId() });
    await start();
    expect(await untilEnded(gid)).toMatchObject([
      { state: 'HANDLED', last_error: expect.stringContaining('redelivered') },
    ]);
    expect(seen).toEqual([`handler ${gid}`]);
  },
);

test.each(['picky', 'picky-by-redis'])(
  'the schema of a redelivered message runs after its row is stored, since it may kill the process (%s)',
  async (gid) => {
    const off = library.onMeasured('retried', () => void seen.push('stored'));
    await redeliver(gid, { gid, messageId: library.newId() });
    await start();
    await untilEnded(gid);
    off();
    expect(seen).toEqual(['stored', `schema ${gid}`, `handler ${gid}`]);
  },
);

test.each(['HANDLED', 'RETRYING', 'PARKED', 'WITHDRAWN'])(
  'a redelivery that is too old keeps the outcome %s of its row',
  async (outcome) => {
    const gid = `kept-${outcome}`;
    const messageId = oldId();
    const { app } = await start();
    const state = outcome === 'WITHDRAWN' ? 'HANDLED' : outcome;
    await sql(
      sandbox,
      'payment',
      `INSERT INTO dtx_inbox (id, message_id, consumer, gid, scheme, type, state, outcome, next_attempt_at, created_at)
       VALUES (?, ?, 'payment.by-inbox', ?, 'local-message', 'test.by-inbox.v1', ?, ?, ?, UTC_TIMESTAMP(3))`,
      [
        `${messageId}.payment.by-inbox`,
        messageId,
        gid,
        state,
        outcome === 'WITHDRAWN' ? 'cancelled by its sender' : null,
        state === 'HANDLED' ? null : '9999-12-31',
      ],
    );
    expect(await deliver(app, byInbox, { gid }, { messageId, redelivered: true })).toBe(outcome);
    expect(await rowsOf(gid)).toMatchObject([{ state, last_error: null }]);
    expect([seen, await openAlerts(gid)]).toEqual([[], 0]);
  },
);

test('deliver with redelivered: true parks a message with an old id', async () => {
  const { app } = await start();
  const gid = 'by-tool';
  expect(await deliver(app, byInbox, { gid }, { messageId: oldId(), redelivered: true })).toBe('PARKED');
  expect(seen).toEqual([]);
});

test('a redelivery that finds its row is not counted as a retry', async () => {
  const { app } = await start();
  const gid = 'counted-once';
  const retried: unknown[] = [];
  const keep = (event: unknown) => (event as { gid?: string }).gid === gid && retried.push(event);
  subscribe('nest-dtx:retried', keep);
  onTestFinished(() => void unsubscribe('nest-dtx:retried', keep));
  const messageId = randomUUID();
  const take = () => deliver(app, byInbox, { gid }, { messageId, redelivered: true });
  expect(await take()).toBe('RETRYING');
  await until('its row is handled', async () => (await rowsOf(gid))[0]?.state === 'HANDLED');
  expect([await take(), retried.length]).toEqual(['HANDLED', 1]);
});
