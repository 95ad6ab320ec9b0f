// A consumer that is behind. Its messages wait in the queue for longer than the sender waits for a receipt.
import { randomUUID } from 'node:crypto';
import { afterEach, beforeAll, expect, test } from 'vitest';
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

/** A service whose consumer handles one message after the other, each until `ends` lets it end. */
async function slowConsumer({ library = intact, absentMs = LONG_MS }: { library?: Library; absentMs?: number } = {}) {
  [handled, ends, isOpen] = [[], new Map(), false];
  const name = `slow-${randomUUID().slice(0, 8)}`;
  queue = `dtx.payment.${name}.v1`;
  const contract = contractOf(library, name);
  const handle = async (_tx: unknown, { gid }: { gid: string }) => {
    await new Promise<void>((resolve) => (isOpen ? resolve() : ends.set(gid, resolve)));
    handled.push(gid);
  };
  service = await LittleService.start({
    sandbox,
    library,
    controllers: [controllerOf([[library.OnMessage(contract), handle]] as never)],
    localMessage: { resend: RESEND, absentMs, attemptsMax: 1_000 },
    core: { prefetch: 1, handlerTimeoutMs: 60_000 },
  });
  const { source } = service;
  const messages = service.get(library.LocalMessages);
  return {
    contract,
    send: (...gids: string[]) =>
      source.transaction(async (tx) => {
        for (const gid of gids) await messages.append(tx, contract, { gid });
      }),
  };
}

interface Row {
  readonly gid: string;
  readonly state: string;
  readonly attempts: number;
  readonly last_error: string | null;
}
const rowsOf = (gids: readonly string[]) =>
  sql<Row>(sandbox, 'payment', 'SELECT gid, state, attempts, last_error FROM dtx_outbox WHERE gid IN (?)', [gids]);
const gidsOf = (count: number) => Array.from({ length: count }, (_, n) => `waiting-${n}-${randomUUID()}`);

/** Each of these messages has been due three times, or was sent three times. */
async function dueThreeTimes(gids: readonly string[]): Promise<void> {
  for (let round = 0; round < 3; round++) {
    await sql(
      sandbox,
      'payment',
      `UPDATE dtx_outbox SET next_attempt_at = UTC_TIMESTAMP(3), last_error = NULL
       WHERE gid IN (?) AND state = 'SENT' AND claim_token IS NULL`,
      [gids],
    );
    await until('each was looked at', async () =>
      (await rowsOf(gids)).every((row) => row.last_error?.startsWith('not resent yet') || row.attempts > round + 1),
    );
  }
}

/** How many messages wait in the queue of a consumer after each of them was due three times. */
async function waitingAfterThreeTimes(library?: Library) {
  const { send } = await slowConsumer({ library: library ?? intact });
  const gids = gidsOf(12);
  await send(...gids);
  await until(
    'one is in work and the others wait',
    async () => ends.size === 1 && (await messagesIn(sandbox, queue)) === 11,
  );
  await dueThreeTimes(gids);
  const waiting = await messagesIn(sandbox, queue);
  openAll();
  await until('all are done', async () => (await rowsOf(gids)).every(({ state }) => state === 'DONE'));
  expect([...handled].sort()).toEqual([...gids].sort());
  return waiting!;
}

test('no copy is sent of messages that the consumer has not come to', async () => {
  expect(await waitingAfterThreeTimes()).toBe(11);
});

test('control: if only time counts, the queue grows by a copy of each, again and again', async () => {
  const library = libraryOf(buildMutant(copyBuild(impatientRelay.name), impatientRelay));
  expect(await waitingAfterThreeTimes(library)).toBeGreaterThanOrEqual(11 + 2 * 12);
});

/** A message that was sent and that the broker has lost, with its queue as it then was. */
async function lose(contract: string): Promise<string> {
  const gid = `lost-${randomUUID()}`;
  const consumer = contract.replace('test.', 'payment.');
  await sql(
    sandbox,
    'payment',
    `INSERT INTO dtx_outbox
       (id, version, gid, contract, payload, awaiting, state, attempts, next_attempt_at, created_at, sent_at)
     VALUES (?, 1, ?, ?, ?, ?, 'SENT', 1, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`,
    [intact.newId(Date.now()), gid, contract, JSON.stringify({ gid }), `,${consumer},`],
  );
  return gid;
}

test('a lost message is sent again as soon as a later one has its receipt, though the queue is never empty', async () => {
  const { contract, send } = await slowConsumer();
  const gid = await lose(contract.name);
  const later = gidsOf(4);
  await send(...later);
  await until('one is in work', () => ends.size === 1);
  await dueThreeTimes([gid]);
  expect((await rowsOf([gid]))[0]!.attempts).toBe(1);
  ends.values().next().value!();
  await until('it is sent again', async () => (await rowsOf([gid]))[0]!.attempts > 1);
  expect(await messagesIn(sandbox, queue)).toBeGreaterThan(0);
  openAll();
  await until('all are done', async () => (await rowsOf([gid, ...later])).every(({ state }) => state === 'DONE'));
  expect(handled.filter((one) => one === gid)).toHaveLength(1);
});

test('a lost message is sent again after absentMs, if no receipt shows how far the consumer is', async () => {
  const { contract, send } = await slowConsumer({ absentMs: 2_000 });
  await send(...gidsOf(4));
  await until('one is in work', () => ends.size === 1);
  const gid = await lose(contract.name);
  await until('it waits', async () => (await rowsOf([gid]))[0]!.last_error?.startsWith('not resent yet'));
  await until('it is sent again', async () => (await rowsOf([gid]))[0]!.attempts > 1);
  openAll();
  await until('it is done', async () => (await rowsOf([gid]))[0]!.state === 'DONE');
});
