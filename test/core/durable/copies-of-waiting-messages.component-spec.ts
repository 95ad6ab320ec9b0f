// A consumer that is behind. Its messages wait in the queue for longer than the sender waits for a receipt.
import { randomUUID } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { messagesIn } from '../../fixtures/broker-queues.js';
import { contractOf, controllerOf, type Library, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { buildMutant, copyBuild } from '../../mutants/build-copy.js';
import { impatientRelay } from './copies-of-waiting-messages.mutants.js';

const intact = libraryOf();
const RESEND = { firstMs: 200, factor: 1, capMs: 200 };
const LONG_MS = 600_000;
let sandbox: Sandbox;
let service: LittleService | undefined;
let handled: string[];
/** Lets the handler of this message end. All, once `isOpen`. */
let ends: Map<string, () => void>;
let isOpen: boolean;
let queue: string;

beforeAll(async () => {
  sandbox = await freshSandbox('copies_of_waiting', { audited: false });
});
afterEach(async () => {
  openAll();
  await service?.close();
});

function openAll(): void {
  isOpen = true;
  for (const end of ends.values()) end();
}

type Scheme = 'local-message' | 'half-message';
const TABLE = { 'local-message': 'dtx_outbox', 'half-message': 'dtx_half' } as const;

interface Given {
  readonly library?: Library;
  readonly absentMs?: number;
  readonly scheme?: Scheme;
  /** Whether the consumer has sent a receipt. */
  readonly isKnown?: boolean;
}

/** A service whose consumer handles one message after the other, each until `ends` lets it end. */
async function slowConsumer(given: Given = {}) {
  const { library = intact, absentMs = LONG_MS, scheme = 'local-message', isKnown = true } = given;
  [handled, ends, isOpen] = [[], new Map(), true];
  const name = `slow-${randomUUID().slice(0, 8)}`;
  queue = `dtx.payment.${name}.v1`;
  const contract = contractOf(library, name, { replicated: scheme === 'half-message' });
  const handle = async (_tx: unknown, { gid }: { gid: string }) => {
    await new Promise<void>((resolve) => (isOpen ? resolve() : ends.set(gid, resolve)));
    handled.push(gid);
  };
  service = await LittleService.start({
    sandbox,
    library,
    controllers: [controllerOf([[library.OnMessage(contract), handle]] as never)],
    localMessage: { resend: RESEND, absentMs, attemptsMax: 1_000 },
    halfMessage: { sweepAfterMs: LONG_MS, sweepBackoff: RESEND, absentMs, attemptsMax: 1_000, markDelayMs: 1 },
    // A mark that comes after the lease, or after `sweepAfterMs`, would be a copy by another rule.
    core: { prefetch: 1, handlerTimeoutMs: 60_000, leaseMs: 30_000 },
  });
  const { source } = service;
  const [messages, halves] = [service.get(library.LocalMessages), service.get(library.HalfMessages)];
  const append = (gids: readonly string[]) =>
    source.transaction(async (tx) => {
      for (const gid of gids) await messages.append(tx, contract, { gid });
    });
  const halve = async (gids: readonly string[]) => {
    for (const gid of gids) await halves.send(contract, { gid }, async () => {});
  };
  const send = (...gids: string[]) => (scheme === 'half-message' ? halve(gids) : append(gids));
  if (isKnown) {
    await send('first');
    await until('its receipt is there', async () => (await rowsOf(['first'], scheme)).every(isDone));
  }
  await secondsLater();
  [handled, isOpen] = [[], false];
  return { contract, send };
}

/**
 * The time of an id is that of the database as the process estimates it, and the time of a send is that of the database. A
 * busy machine may estimate late. So the first message is made well before the others are sent.
 */
async function secondsLater(): Promise<void> {
  const from = Date.now();
  await until('more than two seconds have passed', () => Date.now() - from > 2_500);
}

interface Row {
  readonly gid: string;
  readonly state: string;
  readonly attempts: number;
  readonly last_error: string | null;
}
const rowsOf = (gids: readonly string[], scheme: Scheme = 'local-message') =>
  sql<Row>(sandbox, 'payment', `SELECT gid, state, attempts, last_error FROM ${TABLE[scheme]} WHERE gid IN (?)`, [
    gids,
  ]);
const isDone = ({ state }: Row) => state === 'DONE';
const gidsOf = (count: number) => Array.from({ length: count }, (_, n) => `waiting-${n}-${randomUUID()}`);

/** Each of these sent messages becomes due three times. */
async function dueThreeTimes(gids: readonly string[], scheme: Scheme = 'local-message'): Promise<void> {
  await until('all are sent', async () => (await rowsOf(gids, scheme)).every(({ state }) => state === 'SENT'));
  const [{ attempts: before }] = (await rowsOf(gids, scheme)) as [Row];
  for (let round = 1; round <= 3; round++) {
    await sql(
      sandbox,
      'payment',
      `UPDATE ${TABLE[scheme]} SET next_attempt_at = UTC_TIMESTAMP(3), last_error = NULL
       WHERE gid IN (?) AND state = 'SENT' AND claim_token IS NULL`,
      [gids],
    );
    await until('each was looked at', async () =>
      (await rowsOf(gids, scheme)).every(
        (row) => row.last_error?.startsWith('not resent yet') || row.attempts >= before + round,
      ),
    );
  }
}

/** One message is in work and so many others wait, or more if there are copies. */
const untilWaiting = (count: number) =>
  until('the others wait', async () => ends.size === 1 && (await messagesIn(sandbox, queue))! >= count);

/** How many messages wait in the queue of a consumer after each of them was due three times. */
async function waitingAfterThreeTimes(given: Given) {
  const { send } = await slowConsumer(given);
  const gids = gidsOf(12);
  await send(...gids);
  await untilWaiting(11);
  await dueThreeTimes(gids, given.scheme);
  const waiting = await messagesIn(sandbox, queue);
  openAll();
  await until('all are done', async () => (await rowsOf(gids, given.scheme)).every(isDone));
  expect([...handled].sort()).toEqual([...gids].sort());
  return waiting!;
}

describe.each(['local-message', 'half-message'] as const)('a %s that its consumer has not come to', (scheme) => {
  test('is not sent again', async () => {
    expect(await waitingAfterThreeTimes({ scheme })).toBe(11);
  });

  test('control: if only time counts, the queue grows by a copy of each, again and again', async () => {
    const library = libraryOf(buildMutant(copyBuild(`${impatientRelay.name}-${scheme}`), impatientRelay));
    expect(await waitingAfterThreeTimes({ library, scheme })).toBeGreaterThanOrEqual(11 + 2 * 12);
  });
});

/** A message that was sent a second ago and that the broker has lost. */
async function lose(contract: string, { dueInS = 0, others = '' } = {}): Promise<string> {
  const gid = `lost-${randomUUID()}`;
  const consumer = contract.replace('test.', 'payment.');
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_outbox
       (id, version, gid, contract, payload, awaiting, state, attempts, next_attempt_at, created_at, sent_at)
     VALUES (?, 1, ?, ?, ?, ?, 'SENT', 1, UTC_TIMESTAMP(3) + INTERVAL ? SECOND,
       UTC_TIMESTAMP(3) - INTERVAL 1 SECOND, UTC_TIMESTAMP(3) - INTERVAL 1 SECOND)`,
    [randomUUID(), gid, contract, JSON.stringify({ gid }), `,${others}${consumer},`, dueInS],
  );
  return gid;
}

const attemptsOf = async (gid: string) => (await rowsOf([gid]))[0]!.attempts;
test('a lost message is sent again as soon as a later one has its receipt, though the queue is never empty', async () => {
  const { contract, send } = await slowConsumer();
  const gid = await lose(contract.name, { dueInS: 3_600 });
  const later = gidsOf(4);
  await send(...later);
  await untilWaiting(3);
  await dueThreeTimes([gid]);
  expect(await attemptsOf(gid)).toBe(1);
  ends.values().next().value!();
  await until('it is sent again', async () => (await attemptsOf(gid)) > 1);
  expect(await messagesIn(sandbox, queue)).toBeGreaterThan(0);
  openAll();
  await until('all are done', async () => (await rowsOf([gid, ...later])).every(isDone));
  expect(handled.filter((one) => one === gid)).toHaveLength(1);
});

test('a lost message is sent again absentMs after its first send, if no receipt shows how far the consumer is', async () => {
  const absentMs = 4_000;
  const { contract, send } = await slowConsumer({ absentMs });
  await send(...gidsOf(4));
  await untilWaiting(3);
  const from = Date.now();
  const gid = await lose(contract.name);
  await until('it is sent again', async () => (await attemptsOf(gid)) > 1);
  expect(Date.now() - from).toBeGreaterThan(absentMs - 1_100);
  openAll();
  await until('it is done', async () => (await rowsOf([gid]))[0]!.state === 'DONE');
});

describe('a lost message is sent again at once, though its queue is not empty', () => {
  async function lostBehindOthers({ isKnown = true, others = '' }) {
    const { contract, send } = await slowConsumer({ isKnown });
    await send(...gidsOf(4));
    await untilWaiting(3);
    return lose(contract.name, { others });
  }

  test('if nothing is known about its consumer', async () => {
    const gid = await lostBehindOthers({ isKnown: false });
    await until('it is sent again', async () => (await attemptsOf(gid)) > 1);
  });

  test('if another of its consumers has an empty queue', async () => {
    const gid = await lostBehindOthers({ others: 'payment.idle,' });
    await until('it is sent again', async () => (await attemptsOf(gid)) > 1);
  });
});
