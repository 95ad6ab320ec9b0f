// What units that share a transaction have for themselves, and what they have not: each with a control.
import { AsyncLocalStorage } from 'node:async_hooks';
import type { EntityManager } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../../fixtures/until.js';
import { type Deferring, step } from './deferring-service.js';
import {
  inheritedSession,
  lateStatement,
  leftNested,
  leftSavepoint,
  partsRunAgain,
  sharedTrace,
} from './shared-transactions.mutants.js';
import { gidsOf, openSharing, type Run, reasonOf, type Side, startSharing, stepsOf, without } from './sharing-units.js';

let deferring: Deferring;

beforeAll(async () => {
  deferring = await openSharing('shared_transaction_limits');
});

afterEach(() => deferring.end());

const start = (side?: Side) => startSharing(deferring, side);

describe('each unit has the async context of its caller', () => {
  const tenants = new AsyncLocalStorage<string>();

  async function seenBy(side?: Side) {
    const { library, together, afterCommit } = await start(side);
    const gids = gidsOf(3);
    const inHooks: Array<string | undefined> = [];
    const look = () => [library.currentGid(), tenants.getStore()].join();
    const run: Run = async (tx) => {
      afterCommit(tx, async () => void inHooks.push(look()));
      return look();
    };
    const begin = (gid: string) => tenants.run(`of ${gid}`, () => together([[gid, run]]));
    const ended = (await Promise.all(gids.map(begin))).flat();
    return { expected: gids.map((gid) => `${gid},of ${gid}`), seen: ended.map(reasonOf), inHooks };
  }

  test('in a shared transaction and in its hooks too', async () => {
    const { expected, seen, inHooks } = await seenBy();
    expect(seen).toEqual(expected);
    expect(inHooks.sort()).toEqual(expected.sort());
  });

  test('control: in one context they have another one', async () => {
    const { expected, seen } = await seenBy(without(sharedTrace));
    expect(seen).not.toEqual(expected);
  });
});

describe('a nested transaction that its unit does not await', () => {
  /** The steps of the unit behind it, which is done. */
  async function stepsBehind(side?: Side) {
    const { together } = await start(side);
    const gids = gidsOf(2);
    let fail!: (reason: Error) => void;
    const failing = new Promise<never>((_, reject) => {
      fail = reject;
    });
    let nested: Promise<unknown> = Promise.resolve();
    const careless: Run = async (tx) => {
      nested = tx.transaction(() => failing).catch(() => {});
      await tx.query('SELECT 1');
    };
    const behind: Run = async (tx) => {
      await step(tx, gids[1]!, 1);
      fail(new Error('a note that may fail'));
      await nested;
    };
    await together([
      [gids[0]!, careless],
      [gids[1]!, behind],
    ]);
    return stepsOf(deferring, gids.slice(1));
  }

  test('does not undo the work of the next one', async () => {
    expect(await stepsBehind()).toEqual([1]);
  });

  test('control: in the same transaction, it does', async () => {
    expect(await stepsBehind(without(leftNested))).toEqual([0]);
  });
});

describe('a unit that goes on after its end', () => {
  const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

  /** The steps of a late unit that has ended, and of the one behind it, which was done. */
  async function stepsAfter(side?: Side) {
    const { together } = await start(side);
    const gids = gidsOf(2);
    let late: Promise<unknown> = Promise.resolve();
    let isBehind = false;
    let runs = 0;
    const careless: Run = async (tx) => {
      if (++runs > 1) return;
      const behind = until('the next one runs', () => isBehind, { everyMs: 1 });
      late = behind.then(() => step(tx, gids[0]!, 1)).catch(() => {});
    };
    const behind: Run = async (tx) => {
      isBehind = true;
      await pause(30);
      await step(tx, gids[1]!, 1);
      await late;
    };
    const ended = await together([
      [gids[0]!, careless],
      [gids[1]!, behind],
    ]);
    await late;
    return { ended: ended.map(({ status }) => status), steps: await stepsOf(deferring, gids) };
  }

  test('has no further effect, and the next one has its own', async () => {
    expect(await stepsAfter()).toEqual({ ended: ['fulfilled', 'fulfilled'], steps: [0, 1] });
  });

  test('control: in the same transaction, its late statement is committed', async () => {
    expect((await stepsAfter(without(lateStatement))).steps).toEqual([1, 1]);
  });
});

describe('a savepoint that a unit leaves', () => {
  async function stepsWith(side?: Side) {
    const { together } = await start(side);
    const gids = gidsOf(2);
    const leaves: Run = async (tx) => {
      await tx.query('SAVEPOINT mine');
      await step(tx, gids[0]!, 1);
    };
    const takes: Run = async (tx) => {
      await tx.query('ROLLBACK TO SAVEPOINT mine').catch(() => {});
      await step(tx, gids[1]!, 1);
    };
    await together([
      [gids[0]!, leaves],
      [gids[1]!, takes],
    ]);
    return stepsOf(deferring, gids);
  }

  test('is not that of the next one', async () => {
    expect(await stepsWith()).toEqual([1, 1]);
  });

  test('control: in the same transaction, the next one rolls its work back', async () => {
    expect(await stepsWith(without(leftSavepoint))).toEqual([0, 1]);
  });
});

test('a unit does not see the data of the query runner of another one', async () => {
  const { together } = await start();
  const seen: unknown[] = [];
  const run =
    (gid: string): Run =>
    async (tx) => {
      seen.push({ ...tx.queryRunner!.data });
      tx.queryRunner!.data.user = gid;
    };
  await together(gidsOf(3).map((gid) => [gid, run(gid)] as const));
  expect(seen).toEqual([{}, {}, {}]);
});

describe('a unit that changes its session', () => {
  async function variableSeen(side?: Side) {
    const { together } = await start(side);
    const [changes, looks] = gidsOf(2);
    const [, seen] = await together([
      [changes!, (tx) => tx.query("SET @shop_mode = 'audit'")],
      [looks!, async (tx) => (await tx.query('SELECT @shop_mode AS mode'))[0].mode],
    ]);
    return reasonOf(seen!);
  }

  test('changes none of the others', async () => {
    expect(await variableSeen()).toBeNull();
  });

  test('control: without the look at it, the next unit sees the change', async () => {
    expect(await variableSeen(without(inheritedSession))).toBe('audit');
  });
});

describe('a unit whose statement may commit a part', () => {
  /** The others that count as done, because they have succeeded or their mark is there, without a step. */
  async function lostWithout(side?: Side) {
    const { library, together } = await start(side);
    const gids = gidsOf(2);
    const others = gids.slice(1);
    const commits: Run = (tx) => tx.query('CALL commits(?)', [gids[0]]);
    const ended = await together(
      gids.map((gid, n) => [gid, n === 0 ? commits : (tx: EntityManager) => step(tx, gid, 1)] as const),
    );
    const [first, ...rest] = ended;
    const isInPart =
      first!.status === 'rejected' &&
      first!.reason instanceof library.TransactionEnded &&
      first!.reason.isCommittedInPart;
    const counts = rest.map((one) => one.status === 'fulfilled' || reasonOf(one) === 'there');
    const steps = await stepsOf(deferring, others);
    return { isInPart, lost: others.filter((_, n) => counts[n] && steps[n] === 0).length };
  }

  test('runs by itself, and the others have their effects', async () => {
    expect(await lostWithout()).toEqual({ isInPart: true, lost: 0 });
  });

  test('control: in a shared transaction the marks of the others are there, and their effects are lost', async () => {
    expect((await lostWithout(without(partsRunAgain))).lost).toBe(1);
  });
});
