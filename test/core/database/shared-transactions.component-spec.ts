// Units that share a transaction. Those that begin in one turn of the event loop share, if they may.
import { createConnection } from 'mysql2/promise';
import type { EntityManager } from 'typeorm';
import { afterEach, beforeAll, expect, test } from 'vitest';
import type { Library } from '../../fixtures/little-service.js';
import { sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { Deferring, step } from './deferring-service.js';
import { gidsOf, MOST, openSharing, type Run, reasonOf, startSharing, stepsOf as stepsIn } from './sharing-units.js';

let deferring: Deferring;

beforeAll(async () => {
  deferring = await openSharing('shared_transactions');
});

afterEach(() => deferring.end());

const start = () => startSharing(deferring);
const stepsOf = (gids: readonly string[]) => stepsIn(deferring, gids);

test('units that begin in one turn share a transaction, and each gets its own result', async () => {
  const { together, transactions } = await start();
  const gids = gidsOf(MOST);
  const ended = await together(
    gids.map((gid) => [gid, async (tx: EntityManager) => step(tx, gid, 1).then(() => gid)] as const),
  );
  expect(ended.map(reasonOf)).toEqual(gids);
  expect(new Set(transactions).size).toBe(1);
  expect(await stepsOf(gids)).toEqual(gids.map(() => 1));
});

test('more units than may share have the next transaction', async () => {
  const { together, transactions } = await start();
  const gids = gidsOf(2 * MOST);
  await together(gids.map((gid) => [gid, (tx) => step(tx, gid, 1)] as const));
  expect(new Set(transactions).size).toBe(2);
  expect(await stepsOf(gids)).toEqual(gids.map(() => 1));
});

test('a single unit has a transaction of its own', async () => {
  const { together, transactions } = await start();
  const [gid] = gidsOf(1);
  const [ended] = await together([[gid!, (tx) => step(tx, gid!, 1)]]);
  expect(ended!.status).toBe('fulfilled');
  expect(transactions).toHaveLength(1);
});

/** The work of one unit among others, and how it ends. */
const ODD: Record<string, { odd: (gid: string, library: Library) => Run; ends: unknown; steps: number }> = {
  'is refused': {
    odd: (gid, library) => async (tx) => {
      await step(tx, gid, 1);
      throw new library.Rejected('NO');
    },
    ends: 'NO',
    steps: 0,
  },
  'fails in a statement': {
    odd: (gid) => async (tx) => {
      await step(tx, gid, 1);
      await tx.query('SELECT nothing FROM step');
    },
    ends: expect.stringContaining('nothing'),
    steps: 0,
  },
  'fails in a statement that waits for the code of the next one': {
    odd: (gid, library) => async (tx) => {
      await step(tx, gid, 1);
      await library.deferStatement(tx, 'INSERT INTO step VALUES (?, 1)', [gid]);
    },
    ends: expect.stringContaining('Duplicate'),
    steps: 0,
  },
  'finds by a change that waited that there is no such row': {
    odd: (gid, library) => async (tx) => {
      await step(tx, gid, 1);
      return library.changesOneRow(tx, `UPDATE step SET n = 9 WHERE gid = ? AND n = 8 AND gid <> '-- ${gid}'`, [gid]);
    },
    ends: false,
    steps: 1,
  },
  'has run before': {
    odd: (gid) => async (tx) => step(tx, gid, 1),
    ends: 'there',
    steps: 0,
  },
};

test.each(Object.entries(ODD))(
  'if one %s, the others commit once, and it gets its own answer',
  async (name, { odd, ends, steps }) => {
    const { library, together, shared } = await start();
    const gids = gidsOf(5);
    if (name === 'has run before') await sql(deferring.sandbox, 'payment', 'INSERT INTO mark VALUES (?)', [gids[2]]);
    const ended = await together(
      gids.map((gid, n) => [gid, n === 2 ? odd(gid, library) : (tx: EntityManager) => step(tx, gid, 1)] as const),
    );
    const answers = ended.map(reasonOf);
    expect(answers[2]).toEqual(ends);
    expect(ended.filter(({ status }, n) => n !== 2 && status === 'rejected')).toEqual([]);
    expect(await stepsOf(gids)).toEqual([1, 1, steps, 1, 1]);
    if (name !== 'has run before') expect(shared()).toBe(true);
  },
);

test('a change that missed lets all of them run again, in one transaction', async () => {
  const { library, together, transactions } = await start();
  const gids = gidsOf(4);
  const miss = (gid: string): Run => {
    const change = `UPDATE step SET n = 9 WHERE gid = ? AND n = 8 AND gid <> '-- of ${gid}'`;
    return async (tx) => library.changesOneRow(tx, change, [gid]);
  };
  const runs = gids.map((gid, n) => [gid, n === 1 ? miss(gid) : (tx: EntityManager) => step(tx, gid, 1)] as const);
  const ended = await together(runs);
  expect(ended.map(({ status }) => status)).toEqual(Array(4).fill('fulfilled'));
  expect(reasonOf(ended[1]!)).toBe(false);
  expect(new Set(transactions).size).toBe(2);
  // The statement of the one behind it finds the miss.
  expect(transactions).toHaveLength(3 + gids.length);
  expect(await stepsOf(gids)).toEqual([1, 0, 1, 1]);
});

test('after a failure units run by themselves, until as many have succeeded as may share', async () => {
  const { library, together, transactions } = await start();
  const failing = async () => {
    throw new library.Rejected('NO');
  };
  const round = async (runs: readonly Run[]) => {
    transactions.length = 0;
    await together(gidsOf(runs.length).map((gid, n) => [gid, runs[n]!] as const));
    return new Set(transactions).size;
  };
  const fine = async () => {};
  await round([fine, failing]);
  expect(await round(Array(MOST - 2).fill(fine))).toBe(MOST - 2);
  expect(await round(Array(2).fill(fine))).toBe(2);
  expect(await round(Array(2).fill(fine))).toBe(1);
  expect(await round(Array(4).fill(fine))).toBe(1);
});

test('slow units soon run by themselves, at the same time', async () => {
  const { together, transactions } = await start();
  const slow: Run = (tx) => tx.query('SELECT SLEEP(0.15)');
  const round = async () => {
    transactions.length = 0;
    await together(gidsOf(MOST).map((gid) => [gid, slow] as const));
    return new Set(transactions).size;
  };
  expect(await round()).toBe(1);
  expect(await round()).toBeGreaterThan(1);
  await round();
  expect(await round()).toBe(MOST);
});

test('a transaction that lasts long lets those behind it run by themselves, and no second one of several begins', async () => {
  const { together, transactions } = await start();
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const holding = together(gidsOf(2).map((gid) => [gid, () => released] as const));
  await until('the first one of two runs', () => transactions.length > 0);
  const behind = gidsOf(3 * MOST);
  await together(behind.map((gid) => [gid, async () => {}] as const));
  release();
  await holding;
  expect(new Set(transactions).size).toBe(1 + behind.length);
  // The second unit of the first transaction has run in it after all others.
  expect(transactions.at(-1)).toBe(transactions[0]);
});

test('a unit that waits for a lock does not hold up those that come later', async () => {
  const { together } = await start();
  const [held, ...others] = gidsOf(4);
  await sql(deferring.sandbox, 'payment', 'INSERT INTO step VALUES (?, 1)', [held]);
  const order: string[] = [];
  const noted =
    (name: string, run: Run): Run =>
    async (tx) => {
      await run(tx);
      order.push(name);
    };
  const locking = await createConnection(deferring.sandbox.databases.payment);
  try {
    await locking.query('BEGIN');
    await locking.query('SELECT n FROM step WHERE gid = ? AND n = 1 FOR UPDATE', [held]);
    let isWaiting = false;
    const update: Run = (tx) => {
      isWaiting = true;
      return tx.query('UPDATE step SET n = 2 WHERE gid = ? AND n = 1', [held]);
    };
    const first = together([[held!, noted('held', update)]]);
    await until('the unit waits for its lock', () => isWaiting);
    await together(others.map((gid) => [gid, noted('other', (tx) => step(tx, gid, 1))] as const));
    await locking.query('COMMIT');
    await first;
  } finally {
    await locking.end();
  }
  expect(order).toEqual(['other', 'other', 'other', 'held']);
});

test('a connection that breaks in a shared transaction costs no unit and doubles none', async () => {
  const { together, shared } = await start();
  const gids = gidsOf(4);
  let isBroken = false;
  const breaks: Run = async (tx) => {
    const [{ id }] = await tx.query('SELECT CONNECTION_ID() AS id');
    if (!isBroken) await sql(deferring.sandbox, 'payment', `KILL ${Number(id)}`);
    isBroken = true;
    await step(tx, gids[3]!, 1);
  };
  const ended = await together(
    gids.map((gid, n) => [gid, n === 3 ? breaks : (tx: EntityManager) => step(tx, gid, 1)] as const),
  );
  expect(ended.map(({ status }) => status)).toEqual(Array(4).fill('fulfilled'));
  expect(await stepsOf(gids)).toEqual([1, 1, 1, 1]);
  expect(shared()).toBe(true);
});
