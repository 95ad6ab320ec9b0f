import { createConnection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { expectNothingLeft } from './branches-and-decisions.js';
import { ALL, Effect, effectsOf, everywhere, LittleXa, libraryOf, type Managers, prepareTables } from './little-xa.js';

const library = libraryOf();
let sandbox: Sandbox;
let app: LittleXa;
let count = 0;
const newGid = () => `errors-${++count}`;

beforeAll(async () => {
  sandbox = await freshSandbox('xa_errors');
  await prepareTables(sandbox, library);
  // A lock wait, which takes a second here, is to end before the deadline on a busy machine as well.
  app = await LittleXa.start({ sandbox, library, xa: { timeoutMs: 10_000 } });
});

afterAll(() => app?.close());

/** Whatever happened, the connections are good and nothing is left: the next one goes through. */
afterEach(async () => {
  const gid = newGid();
  await app.run(gid, everywhere(gid));
  expect(await effectsOf(sandbox, gid)).toEqual(ALL);
  await expectNothingLeft(sandbox);
});

async function holding(database: 'order' | 'payment', shelf: number) {
  const holder = await createConnection({ uri: sandbox.databases[database] });
  await holder.beginTransaction();
  await holder.query('UPDATE shelf SET n = n + 1 WHERE id = ?', [shelf]);
  return holder;
}

/** In the branch of `at`: waits for a row that is locked for longer than a lock wait. */
async function lockWait(at: 'order' | 'payment', { [at]: manager }: Managers): Promise<void> {
  const holder = await holding(at, 1);
  await manager!.query('UPDATE shelf SET n = n + 1 WHERE id = 1').finally(() => holder.end());
}

/** Holds a row that another transaction waits for, and wants the one that this other holds: one of the two is the victim. */
async function deadlock(at: 'order' | 'payment', { [at]: manager }: Managers): Promise<void> {
  await manager!.query('UPDATE shelf SET n = n + 1 WHERE id = 1');
  const holder = await holding(at, 2);
  // More rows changed make the other one the heavier: the servers choose the lighter as the victim.
  await holder.query(
    'INSERT INTO effect (gid, n) SELECT CONCAT(?, seq.n), 1 FROM (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6) seq',
    [`ballast-${newGid()}-`],
  );
  const waiting = holder.query('UPDATE shelf SET n = n + 1 WHERE id = 1').catch(() => {});
  await manager!.query('UPDATE shelf SET n = n + 1 WHERE id = 2').finally(async () => {
    await waiting;
    await holder.rollback();
    await holder.end();
  });
}

async function duplicateKey(at: 'order' | 'payment', { [at]: manager }: Managers): Promise<void> {
  const gid = newGid();
  for (let twice = 0; twice < 2; twice++) await manager!.query('INSERT INTO effect VALUES (?, 1)', [gid]);
}

const CASES = [
  ['lock wait timeout', 1205, lockWait],
  ['deadlock victim', 1213, deadlock],
  ['duplicate key', 1062, duplicateKey],
] as const;

for (const [what, errno, fail] of CASES) {
  for (const at of ['payment', 'order'] as const) {
    test.each(['thrown', 'swallowed'] as const)(
      `${what} in the branch of ${at}, %s by the work, rolls all branches back`,
      async (how) => {
        const gid = newGid();
        const run = app.run(gid, async (managers) => {
          await everywhere(gid)(managers);
          const failing = fail(at, managers);
          await (how === 'swallowed' ? failing.catch(() => {}) : failing);
        });
        await expect(run).rejects.toMatchObject({ driverError: { errno } });
        expect(await effectsOf(sandbox, gid)).toEqual([]);
      },
    );
  }
}

test('an error of the work itself is thrown unchanged, and all branches roll back', async () => {
  const gid = newGid();
  const mine = new Error('mine');
  const run = app.run(gid, async (managers) => {
    await everywhere(gid)(managers);
    throw mine;
  });
  await expect(run).rejects.toBe(mine);
  expect(await effectsOf(sandbox, gid)).toEqual([]);
});

test('save and nested transactions work inside a branch', async () => {
  const gid = newGid();
  await app.run(gid, async (managers) => {
    for (const name of ALL) {
      await managers[name]!.save(Effect, { gid, n: 1 });
      await managers[name]!.transaction((nested) => nested.save(Effect, { gid: `${gid}-nested`, n: 2 }));
    }
  });
  expect(await effectsOf(sandbox, gid)).toEqual(ALL);
  expect(await effectsOf(sandbox, `${gid}-nested`)).toEqual(ALL);
});

test('a statement after the work is refused instead of committed by itself', async () => {
  const gid = newGid();
  let late: Promise<unknown> = Promise.resolve();
  let managersOut: Managers | undefined;
  await app.run(gid, async (managers) => {
    managersOut = managers;
    await everywhere(gid)(managers);
    // Not awaited by the work, but begun within it: it is a part of it.
    late = managers.payment!.query('UPDATE shelf SET n = n + 1 WHERE id = 2');
  });
  await late;
  await expect(managersOut!.payment!.query('INSERT INTO effect VALUES (?, 1)', [`${gid}-late`])).rejects.toThrow(
    /over|released/,
  );
  expect(await effectsOf(sandbox, `${gid}-late`)).toEqual([]);
});

test('work that takes longer than the deadline is rolled back', async () => {
  const gid = newGid();
  const hasty = await LittleXa.start({ sandbox, library, xa: { timeoutMs: 2_000 } });
  const run = hasty.run(gid, async (managers) => {
    await everywhere(gid)(managers);
    await managers.inventory!.query('SELECT SLEEP(5)');
  });
  await expect(run).rejects.toThrow(/longer than 2000 ms/);
  await hasty.close();
  await until('the servers have rolled back', async () => (await effectsOf(sandbox, gid)).length === 0);
});

test('names that are not configured, or no branch at all, are refused before anything is begun', async () => {
  const xa = app.context.get(library.Xa);
  const work = async () => 'done';
  await expect(xa.run(['order', 'nowhere'], work)).rejects.toThrow(/unknown XA database "nowhere"/);
  await expect(xa.run(['order'], work)).rejects.toThrow(/needs at least one branch/);
  await expect(xa.run(['payment', 'payment'], work)).rejects.toThrow(/each once/);
  expect(
    await xa.run(['payment'], async ({ payment }) => payment.query('DELETE FROM effect WHERE FALSE').then(work)),
  ).toBe('done');
});
