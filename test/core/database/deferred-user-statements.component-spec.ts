import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { libraryOf } from '../../fixtures/little-service.js';
import { sql } from '../../fixtures/sandbox.js';
import { buildMutant, copyBuild } from '../../mutants/build-copy.js';
import { anythingInFront, hiddenCommit } from './deferred-statements.mutants.js';
import { Deferring, intact, SEVERAL, step } from './deferring-service.js';

let deferring: Deferring;
const start: Deferring['start'] = (setting) => deferring.start(setting);
const insertedBy = (gid: string) => deferring.insertedBy(gid);

beforeAll(async () => {
  deferring = await Deferring.open('deferred_users');
});

afterEach(() => deferring.end());

describe('a statement of the user that is deferred', () => {
  const values = (gid: string, n: number): [string, unknown[]] => ['INSERT INTO step VALUES (?, ?)', [gid, n]];

  test('is sent with the next statement, and a wide one at once', async () => {
    const { unit, gid } = await start();
    await unit(async (tx) => {
      await step(tx, gid, 1);
      await intact.deferStatement(tx, ...values(gid, 2));
      expect(await insertedBy(gid)).toEqual({ steps: 1, messages: 0 });
      await step(tx, gid, 3);
      expect(await insertedBy(gid)).toEqual({ steps: 3, messages: 0 });
      await intact.deferStatement(tx, `INSERT INTO step SELECT ?, 4 FROM DUAL WHERE ? <> ''`, [
        gid,
        'x'.repeat(70_000),
      ]);
      expect(await insertedBy(gid)).toEqual({ steps: 4, messages: 0 });
    });
  });

  test('ends the transaction by its error, although the user takes it for one of the next statement', async () => {
    const { unit, gid } = await start();
    const failing = unit(async (tx) => {
      await step(tx, gid, 1);
      await intact.deferStatement(tx, ...values(gid, 1));
      await step(tx, gid, 2).catch((error) => {
        if (!intact.isDuplicateKey(error)) throw error;
      });
    });
    await expect(failing).rejects.toMatchObject({ driverError: { errno: 1062, sql: expect.stringContaining(', 1)') } });
    expect(await insertedBy(gid)).toEqual({ steps: 0, messages: 0 });
  });

  test('is undone by a rollback to an earlier savepoint, and kept by one to a later savepoint', async () => {
    const { unit, gid } = await start();
    await unit(async (tx) => {
      await intact.deferStatement(tx, ...values(gid, 1));
      await tx.query('SAVEPOINT mine');
      await intact.deferStatement(tx, ...values(gid, 2));
      await tx.query('ROLLBACK TO SAVEPOINT mine');
    });
    const rows = await sql<{ n: number }>(deferring.sandbox, 'payment', 'SELECT n FROM step WHERE gid = ?', [gid]);
    expect(rows).toEqual([{ n: 1 }]);
  });

  test.each([
    ['-- note', [1, 2, 3]],
    ['# note', [1, 2, 3]],
    ['/* note */', [1, 2, 3]],
    ['--', [1, 2, 3]],
    [';', [1, 2, 3]],
    ['/* open', [2]],
  ])('is sent at once if %j would hide the statements behind it, and COMMIT is kept', async (tail, kept) => {
    const { unit, gid } = await start();
    await unit(async (tx) => {
      await intact.deferStatement(tx, `INSERT INTO step VALUES (?, ?) ${tail}`, [gid, 1]).catch(() => {});
      await step(tx, gid, 2);
      await intact.deferStatement(tx, `INSERT INTO step VALUES (?, '3') ${tail}`, [gid]).catch(() => {});
    });
    await deferring.end();
    const rows = await sql<{ n: number }>(deferring.sandbox, 'payment', 'SELECT n FROM step WHERE gid = ?', [gid]);
    expect(rows.map(({ n }) => n)).toEqual(kept);
  });

  const committed = async (gid: string) => {
    await deferring.end();
    return sql<{ n: number }>(deferring.sandbox, 'payment', 'SELECT n FROM step WHERE gid = ? ORDER BY n', [gid]);
  };

  test.each([
    ['a value of its own text', 'VALUES (?, 1) ON DUPLICATE KEY UPDATE n = ?', [{ toSqlString: () => '2 -- keep' }]],
    ['a control character', 'VALUES (?, 1) --\u0001 x', []],
    ['a quote that is open without backslash escapes', "SELECT ?, 1 FROM DUAL WHERE 'c:\\' <> '' -- it's c:", []],
  ])('is sent at once if %s makes a comment of it', async (_, text, more) => {
    const { db, unit, gid } = await start({ source: { extra: { multipleStatements: true, connectionLimit: 1 } } });
    await db.query("SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')");
    await unit((tx) => intact.deferStatement(tx, `INSERT INTO step (gid, n) ${text}`, [gid, ...more]));
    await db.query('INSERT INTO step VALUES (?, 2)', [gid]);
    expect(await committed(gid)).toEqual([{ n: 1 }, { n: 2 }]);
  });

  const hiding = 'INSERT INTO step VALUES (?, ?) -- note';

  test('that hides COMMIT after all ends its unit, and the connection', async () => {
    const library = libraryOf(buildMutant(copyBuild('in-front'), anythingInFront));
    const { db, unit, gid } = await start({ library, source: { extra: { ...SEVERAL.extra, connectionLimit: 1 } } });
    const failing = unit((tx) => library.deferStatement(tx, hiding, [gid, 1]));
    await expect(failing).rejects.toThrow(/cannot be committed as a whole: "INSERT INTO step .*" hides the statements/);
    const behind = unit(async (tx) => {
      await library.deferStatement(tx, hiding, [gid, 1]);
      await step(tx, gid, 1);
    });
    await expect(behind).rejects.toThrow('hides the statements');
    await db.query('INSERT INTO step VALUES (?, 2)', [gid]);
    expect(await committed(gid)).toEqual([{ n: 2 }]);
  });

  test('control: a COMMIT behind a comment is hidden, and the work is lost although the unit succeeds', async () => {
    const library = libraryOf(buildMutant(copyBuild('hidden-commit'), hiddenCommit));
    const { unit, gid } = await start({ library });
    await unit((tx) => library.deferStatement(tx, hiding, [gid, 1]));
    expect(await committed(gid)).toEqual([]);
  });

  test.each([
    ['takes one statement in a packet', {}],
    ['is not joined by the library', SEVERAL],
  ])('is sent at once if its transaction %s', async (_, source) => {
    const { db, gid } = await start({ source });
    await db.transaction(async (tx) => {
      await intact.deferStatement(tx, ...values(gid, 1));
      expect(await insertedBy(gid)).toEqual({ steps: 1, messages: 0 });
    });
  });
});
