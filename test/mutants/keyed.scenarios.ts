import { expect } from 'vitest';
import { z } from 'zod';
import { controllerOf, type Library, LittleService, libraryOf } from '../fixtures/little-service.js';
import { type Sandbox, sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import {
  noLookNoSearch,
  noRelease,
  noReleaseNoSearch,
  noSearch,
  noSecondLook,
  parkedIsPassed,
  placeWithoutLock,
  redisAllowed,
  sentBehindHead,
  usedKeyPurged,
} from './keyed.mutants.js';
import type { Claim, Scenario } from './scenario.js';
import type { Stage } from './scenario-stage.js';

interface Message {
  readonly n: number;
}

interface Given {
  /** How often the handler fails on a message. */
  readonly failures?: Record<number, number>;
  /** The handler of the first message waits until the two others wait behind it. */
  readonly slowFirst?: boolean;
  /** No scan and no search helps. */
  readonly withoutScans?: boolean;
  readonly attemptsMax?: number;
  readonly retentionMs?: number;
}

/** A service with messages of one key, and what its handler has done. */
class Ordered {
  readonly handled: number[] = [];

  private constructor(
    readonly sandbox: Sandbox,
    readonly library: Library,
    readonly service: LittleService,
    readonly contract: ReturnType<typeof contractOf>,
    handled: number[],
  ) {
    this.handled = handled;
  }

  static async start({ sandbox, root, keep }: Stage, given: Given = {}): Promise<Ordered> {
    const library = libraryOf(root);
    const contract = contractOf(library);
    const [handled, left]: [number[], Record<number, number>] = [[], { ...given.failures }];
    const handle = async (_tx: unknown, { n }: Message) => {
      left[n] = (left[n] ?? 0) - 1;
      if (left[n]! >= 0) throw new Error(`${n} fails`);
      if (given.slowFirst && n === 1) await until('2 and 3 wait', async () => (await waitingIn(sandbox)) === 2);
      handled.push(n);
    };
    const backoff = { firstMs: 1_500, factor: 1, capMs: 1_500 };
    const service = await LittleService.start({
      sandbox,
      library,
      controllers: [controllerOf([[library.OnMessage(contract), handle]])],
      localMessage: given.retentionMs ? { retentionMs: given.retentionMs } : {},
      core: {
        inbox: { attemptsMax: given.attemptsMax ?? 10, backoff },
        purgeIntervalMs: 1_000,
        ...(given.withoutScans && { leaseMs: 300_000, scanIntervalMs: 300_000 }),
      },
    });
    keep(service);
    return new Ordered(sandbox, library, service, contract, handled);
  }

  append(...numbers: number[]): Promise<void> {
    return this.service.source.transaction(async (tx) => {
      for (const n of numbers) await this.service.get(this.library.LocalMessages).append(tx, this.contract, { n });
    });
  }

  /** The states of the messages in the order of their places. */
  async states(): Promise<string[]> {
    const rows = await sql<{ state: string }>(this.sandbox, 'payment', 'SELECT state FROM dtx_keyed ORDER BY seq, id');
    return rows.map(({ state }) => state);
  }

  /** An operator retries each parked message of the consumer. */
  async retryParked(): Promise<void> {
    const rows = await sql<{ id: string }>(this.sandbox, 'payment', `SELECT id FROM dtx_inbox WHERE state = 'PARKED'`);
    for (const { id } of rows)
      for (const one of this.service.get(this.library.Operations).sources) await one.retry(id, {});
  }

  async handledInOrder(order: readonly number[]): Promise<void> {
    const isDone = () => this.handled.length >= order.length;
    await until('every message is handled', isDone, { withinMs: 20_000 });
    expect(this.handled, 'handled in the order of the commits').toEqual(order);
  }
}

const WITHOUT_SCANS: Given = { withoutScans: true };

async function waitingIn(sandbox: Sandbox): Promise<number> {
  const rows = await sql(sandbox, 'payment', `SELECT id FROM dtx_keyed WHERE state = 'WAITING'`);
  return rows.length;
}

function contractOf(library: Library, duplicates = 'order') {
  return library.defineMessage({
    name: `test.mutant-${duplicates}`,
    version: 1,
    schema: z.object({ n: z.number() }),
    consumers: [`payment.mutant-${duplicates}`],
    gid: ({ n }) => String(n),
    inOrderOf: { stream: 'mutant', key: () => 'one' },
  });
}

async function failedFirst(stage: Stage): Promise<Claim> {
  const ordered = await Ordered.start(stage, { failures: { 1: 1 } });
  await ordered.append(1, 2, 3);
  return () => ordered.handledInOrder([1, 2, 3]);
}

/** One transaction appends first and commits second, if nothing keeps the other one waiting. */
async function overlapping(stage: Stage): Promise<Claim> {
  const ordered = await Ordered.start(stage, { failures: { 2: 1 } });
  const runner = ordered.service.source.createQueryRunner();
  const commits: number[] = [];
  await runner.startTransaction();
  await ordered.service.get(ordered.library.LocalMessages).append(runner.manager, ordered.contract, { n: 1 });
  const second = ordered.append(2).then(() => void commits.push(2));
  const waits = () =>
    sql(stage.sandbox, 'payment', `SELECT trx_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'`);
  const failed = () => sql(stage.sandbox, 'payment', `SELECT id FROM dtx_inbox WHERE state = 'RETRYING'`);
  await until(
    'the second one waits, or has failed once',
    async () => (await waits()).length + (await failed()).length > 0,
  );
  await runner.commitTransaction();
  commits.push(1);
  await second;
  await runner.release();
  return () => ordered.handledInOrder(commits);
}

async function parkedHead(stage: Stage): Promise<Claim> {
  const ordered = await Ordered.start(stage, { failures: { 1: 1 }, attemptsMax: 1 });
  await ordered.append(1, 2);
  await until('the receipt PARKED is recorded', async () => ['HELD', 'DONE'].includes((await ordered.states())[0]!));
  // Where the key does not wait, its successor is handled now.
  await until(
    '2 waits or is handled',
    async () => ordered.handled.length > 0 || (await ordered.states())[1] === 'WAITING',
  );
  await ordered.retryParked();
  return () => ordered.handledInOrder([1, 2]);
}

async function purgedKey(stage: Stage): Promise<Claim> {
  const ordered = await Ordered.start(stage, { failures: { 1: 3 }, retentionMs: 1_000 });
  await ordered.append(1, 2);
  const used = `SELECT TIMESTAMPDIFF(MICROSECOND, used_at, UTC_TIMESTAMP(3)) / 1000 AS ms FROM dtx_keyed_seq`;
  await until('two purges have passed the key', async () => {
    const [row] = await sql<{ ms: number }>(stage.sandbox, 'payment', used);
    return !row || Number(row.ms) > 4_000;
  });
  await ordered.append(3);
  return () => ordered.handledInOrder([1, 2, 3]);
}

/** The message is made to wait so slowly that its predecessor ends meanwhile. */
const slowWait =
  (given: Given) =>
  async (stage: Stage): Promise<Claim> => {
    const ordered = await Ordered.start(stage, given);
    await sql(
      stage.sandbox,
      'payment',
      `CREATE TRIGGER slow_wait BEFORE UPDATE ON dtx_keyed FOR EACH ROW
       IF NEW.state = 'WAITING' THEN DO SLEEP(2); END IF`,
    );
    await ordered.append(1, 2);
    return () => ordered.handledInOrder([1, 2]);
  };

const slowFirst =
  (given: Given) =>
  async (stage: Stage): Promise<Claim> => {
    const ordered = await Ordered.start(stage, { ...given, slowFirst: true });
    await ordered.append(1, 2, 3);
    return () => ordered.handledInOrder([1, 2, 3]);
  };

/** As after a process that died between the end of a message and its look. */
async function stranded(stage: Stage): Promise<Claim> {
  const ordered = await Ordered.start(stage, { failures: { 1: 3 } });
  await ordered.append(1, 2);
  await until('2 waits', async () => (await ordered.states())[1] === 'WAITING');
  await sql(
    stage.sandbox,
    'payment',
    `UPDATE dtx_keyed SET state = 'DONE', open_key = NULL, next_attempt_at = NULL, awaiting = ',' WHERE gid = '1'`,
  );
  await sql(stage.sandbox, 'payment', `DELETE FROM dtx_inbox WHERE gid = '1'`);
  return () => ordered.handledInOrder([2]);
}

async function redisConsumer({ sandbox, root, keep }: Stage): Promise<Claim> {
  const library = libraryOf(root);
  const handler = library.OnMessage(contractOf(library, 'redis'), { duplicates: 'redis' });
  const controllers = [controllerOf([[handler, async () => {}]])];
  return async () => {
    const start = LittleService.start({ sandbox, library, controllers }).then(keep);
    await expect(start, 'the start is refused').rejects.toThrow(/uses duplicates: 'redis'.*has inOrderOf/);
  };
}

export const keyedScenarios: readonly Scenario[] = [
  { promise: 'a message waits for the retry of its predecessor', mutants: [sentBehindHead], play: failedFirst },
  { promise: 'the order of a key is that of the commits', mutants: [placeWithoutLock], play: overlapping },
  { promise: 'a parked message holds its key', mutants: [parkedIsPassed], play: parkedHead },
  { promise: 'a key with open messages keeps its places', mutants: [usedKeyPurged], play: purgedKey },
  {
    promise: 'a message whose predecessor ends meanwhile is sent',
    mutants: [noSecondLook],
    play: slowWait(WITHOUT_SCANS),
  },
  { promise: 'the receipt of a message sends the next one', mutants: [noRelease], play: slowFirst(WITHOUT_SCANS) },
  {
    promise: 'a message whose predecessor ends meanwhile is sent, by its own look or by a search',
    mutants: [noLookNoSearch],
    pair: [noSecondLook, noSearch],
    play: slowWait({}),
  },
  {
    promise: 'the next message of a key is sent, by a receipt or by a search',
    mutants: [noReleaseNoSearch],
    pair: [noRelease, noSearch],
    play: slowFirst({}),
  },
  { promise: 'a stranded key is found', mutants: [noSearch], play: stranded },
  { promise: 'no ordered consumer detects duplicates by Redis', mutants: [redisAllowed], play: redisConsumer },
];
