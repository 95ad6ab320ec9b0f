import { expect, test } from 'vitest';
import { type AppName, sql } from '../fixtures/sandbox.js';
import { decisions } from './branches-and-decisions.js';
import { ALL, effectsOf, libraryOf, type Managers } from './little-xa.js';
import { oneLittleXa } from './one-little-xa.js';
import { heldShelf, isLocked } from './shelf-locks.js';

const library = libraryOf();
const { changesOneRow, deferStatement } = library;
const INSERT = 'INSERT INTO effect (gid, n) VALUES (?, 1)';
const CHANGE = 'UPDATE shelf SET n = n + 1 WHERE id = ?';
const little = oneLittleXa('xa_waiting', library);
const { newGid } = little;

const shelfOf = async (at: AppName, id: number) =>
  (await sql<{ n: number }>(little.sandbox, at, 'SELECT n FROM shelf WHERE id = ?', [id]))[0]!.n;

test('changes that wait are committed in all databases', async () => {
  const gid = newGid();
  const before = await Promise.all(ALL.map((at) => shelfOf(at, 1)));
  await little.app.run(gid, async (managers) => {
    for (const at of ALL) {
      await deferStatement(managers[at]!, INSERT, [gid]);
      expect(await changesOneRow(managers[at]!, CHANGE, [1])).toBe(true);
    }
  });
  expect(await Promise.all(ALL.map((at) => shelfOf(at, 1)))).toEqual(before.map((n) => n + 1));
  expect(await effectsOf(little.sandbox, gid)).toEqual(ALL);
});

test.each(ALL)('after a miss in the database of %s the work runs again, sees it, and commits once', async (at) => {
  const gid = newGid();
  const seen: boolean[] = [];
  // Each test has a statement of its own, since one that has missed is sent at once for a second.
  const change = `UPDATE shelf SET n = n + 1 WHERE id = ? AND '${gid}' <> ''`;
  const result = await little.app.run(gid, async (managers) => {
    for (const one of ALL) await deferStatement(managers[one]!, INSERT, [gid]);
    const isChanged = await changesOneRow(managers[at]!, change, [99]);
    seen.push(isChanged);
    return isChanged;
  });
  expect([seen, result]).toEqual([[true, false], false]);
  expect(await effectsOf(little.sandbox, gid)).toEqual(ALL);
  expect(await decisions(little.sandbox, gid)).toHaveLength(1);
});

test('work that fails behind a change that has missed runs again, and its second error counts', async () => {
  const gid = newGid();
  const change = `UPDATE shelf SET n = n + 1 WHERE id = ? AND '${gid}' <> ''`;
  const run = little.app.run(gid, async ({ payment, order }) => {
    await order!.query(INSERT, [gid]);
    throw new Error((await changesOneRow(payment!, change, [99])) ? 'it was there' : 'it was not there');
  });
  await expect(run).rejects.toThrow('it was not there');
  expect(await effectsOf(little.sandbox, gid)).toEqual([]);
});

test('work that fails behind a change that has hit runs once', async () => {
  const gid = newGid();
  let runs = 0;
  const run = little.app.run(gid, async ({ payment }) => {
    runs++;
    await changesOneRow(payment!, CHANGE, [1]);
    throw new Error('mine');
  });
  await expect(run).rejects.toThrow('mine');
  expect(runs).toBe(1);
});

test.each(ALL)('a statement that waits and fails in the database of %s rolls all back, with its error', async (at) => {
  const gid = newGid();
  await sql(little.sandbox, at, INSERT, [`${gid}-there`]);
  const run = little.app.run(gid, async (managers) => {
    for (const one of ALL) await deferStatement(managers[one]!, INSERT, [gid]);
    await deferStatement(managers[at]!, INSERT, [`${gid}-there`]);
  });
  await expect(run).rejects.toMatchObject({ errno: 1062 });
  expect(await effectsOf(little.sandbox, gid)).toEqual([]);
  expect(await decisions(little.sandbox, gid)).toEqual([]);
});

const first = { payment: 'inventory', inventory: 'order', order: 'payment' } as const;

test.each(Object.entries(first) as Array<[AppName, AppName]>)(
  'a change in %s that waits is locked before a statement in %s is sent',
  async (one, other) => {
    const locked: boolean[] = [];
    await little.app.run(newGid(), async (managers) => {
      await changesOneRow(managers[one]!, CHANGE, [1]);
      locked.push(await isLocked(little.sandbox, one, 1));
      await managers[other]!.query('DO 1');
      locked.push(await isLocked(little.sandbox, one, 1));
    });
    expect(locked).toEqual([false, true]);
  },
);

test.each<[string, AppName[]]>([
  ['of two branches', ['payment', 'inventory']],
  ['of two branches, the other way round', ['inventory', 'payment']],
  ['of the last resource and a branch', ['order', 'payment']],
  ['of a branch and the last resource', ['payment', 'order']],
])('changes that wait lock their rows in the order of the work: %s', async (_, [one, other]) => {
  const held = await heldShelf(little.sandbox, one!, 1);
  const run = little.app.run(newGid(), async (managers) => {
    await changesOneRow(managers[one!]!, CHANGE, [1]);
    await changesOneRow(managers[other!]!, CHANGE, [2]);
  });
  await held.untilWaitedFor();
  expect(await isLocked(little.sandbox, other!, 2)).toBe(false);
  await held.end();
  await run;
});

test('statements of one database keep their place between those of another', async () => {
  const held = await heldShelf(little.sandbox, 'inventory', 1);
  const run = little.app.run(newGid(), async ({ payment, inventory }: Managers) => {
    await changesOneRow(payment!, CHANGE, [1]);
    await changesOneRow(inventory!, CHANGE, [1]);
    await changesOneRow(payment!, CHANGE, [2]);
  });
  await held.untilWaitedFor();
  expect([await isLocked(little.sandbox, 'payment', 1), await isLocked(little.sandbox, 'payment', 2)]).toEqual([
    true,
    false,
  ]);
  await held.end();
  await run;
});

test('statements at once in several databases do not wait for each other', async () => {
  const gid = newGid();
  await little.app.run(gid, async (managers) => {
    await changesOneRow(managers.payment!, CHANGE, [1]);
    await Promise.all(ALL.map((at) => managers[at]!.query(INSERT, [gid])));
  });
  expect(await effectsOf(little.sandbox, gid)).toEqual(ALL);
});

test('changes that the work has not awaited are a part of the transaction', async () => {
  const before = await Promise.all(ALL.map((at) => shelfOf(at, 2)));
  await little.app.run(newGid(), async (managers) => {
    for (const at of [...ALL, ...ALL]) void changesOneRow(managers[at]!, CHANGE, [2]);
  });
  expect(await Promise.all(ALL.map((at) => shelfOf(at, 2)))).toEqual(before.map((n) => n + 2));
});
