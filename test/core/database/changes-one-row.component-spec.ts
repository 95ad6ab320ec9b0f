import { createConnection } from 'mysql2/promise';
import type { DataSource, EntityManager } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Library, libraryOf } from '../../fixtures/little-service.js';
import { sql } from '../../fixtures/sandbox.js';
import { buildMutant, copyBuild } from '../../mutants/build-copy.js';
import { uncheckedChange } from './deferred-statements.mutants.js';
import { Deferring, intact, SEVERAL, step } from './deferring-service.js';

type Work = (tx: EntityManager) => Promise<unknown>;
type Unit = (work: Work) => Promise<unknown>;

let deferring: Deferring;

beforeAll(async () => {
  deferring = await Deferring.open('changes_one_row');
  await sql(
    deferring.sandbox,
    'payment',
    'CREATE TABLE goods (sku VARCHAR(64) NOT NULL PRIMARY KEY, shelf VARCHAR(64) NOT NULL, pieces INT UNSIGNED NOT NULL)',
  );
});

afterEach(() => deferring.end());

/** Two skus on a shelf of their own, each with one piece. */
async function goods(gid: string): Promise<void> {
  const { sandbox } = deferring;
  await sql(sandbox, 'payment', 'INSERT INTO goods VALUES (?, ?, 1), (?, ?, 1)', [gid, gid, `${gid}-other`, gid]);
}

/** The pieces that a session sees at READ UNCOMMITTED. */
async function piecesSent(gid: string): Promise<number> {
  const connection = await createConnection(deferring.sandbox.databases.payment);
  try {
    await connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED');
    const [rows] = await connection.query<never[]>('SELECT pieces FROM goods WHERE sku = ?', [gid]);
    return (rows as { pieces: number }[])[0]!.pieces;
  } finally {
    await connection.end();
  }
}

/** The text differs by test, since one that missed is sent at once for a while. */
const take = (gid: string, where = 'sku = ? AND pieces > 0') =>
  `UPDATE goods SET pieces = pieces - 1 WHERE ${where} AND sku <> '-- ${gid}'`;

const unitOf = {
  inTransaction:
    ({ db }: Started) =>
    (work: Work) =>
      intact.inTransaction(db, work),
  'a transaction of the library':
    ({ database }: Started) =>
    (work: Work) =>
      database.work.run({ what: 'test', run: work }),
} satisfies Record<string, (started: Started) => Unit>;

type Started = Awaited<ReturnType<typeof start>>;

async function start(setting: { library?: Library; source?: object } = {}) {
  const started = await deferring.start(setting);
  await goods(started.gid);
  return started;
}

describe.each(Object.entries(unitOf))('changesOneRow in %s', (_, of) => {
  async function begun() {
    const started = await start();
    return { ...started, unit: of(started) };
  }

  test('waits for the next packet, and the code runs once', async () => {
    const { unit, gid } = await begun();
    const seen: unknown[] = [];
    await unit(async (tx) => {
      seen.push(await intact.changesOneRow(tx, take(gid), [gid]), await piecesSent(gid));
      await step(tx, gid, 1);
      seen.push(await piecesSent(gid));
    });
    expect(seen).toEqual([true, 1, 0]);
    expect(await piecesSent(gid)).toBe(0);
  });

  test('runs the code again if it matched none, and nothing of the first run stays', async () => {
    const { unit, gid, database } = await begun();
    await unit((tx) => intact.changesOneRow(tx, take(gid, 'sku = ?'), [gid]));
    const seen: unknown[] = [];
    const hooks: string[] = [];
    await unit(async (tx) => {
      const isTaken = await intact.changesOneRow(tx, take(gid), [gid]);
      seen.push(isTaken);
      await intact.deferStatement(tx, 'INSERT INTO step VALUES (?, ?)', [gid, isTaken ? 1 : 2]);
      database.hooks.afterCommit(tx, async () => void hooks.push(isTaken ? 'taken' : 'sold out'));
    });
    expect(seen).toEqual([true, false]);
    expect(hooks).toEqual(['sold out']);
    expect(await sql(deferring.sandbox, 'payment', 'SELECT n FROM step WHERE gid = ?', [gid])).toEqual([{ n: 2 }]);
  });

  test('runs the code again although it took the error for one of the next statement', async () => {
    const { unit, gid } = await begun();
    const seen: unknown[] = [];
    await unit(async (tx) => {
      seen.push(await intact.changesOneRow(tx, take(gid), ['unknown']));
      await step(tx, gid, 1).catch(() => {});
    });
    expect(seen).toEqual([true, false]);
    expect(await deferring.insertedBy(gid)).toEqual({ steps: 1, messages: 0 });
  });

  test('takes two rows for none, and undoes them', async () => {
    const { unit, gid } = await begun();
    const seen: unknown[] = [];
    const failing = unit(async (tx) => {
      seen.push(await intact.changesOneRow(tx, take(gid, 'shelf = ?'), [gid]));
      if (seen.at(-1) === false) throw new intact.Rejected('TWO');
    });
    await expect(failing).rejects.toThrow('TWO');
    expect(seen).toEqual([true, false]);
    expect(await piecesSent(gid)).toBe(1);
  });

  test('throws the error of the statement itself, also one of the same number as that of the check', async () => {
    const { unit, gid } = await begun();
    let runs = 0;
    const failing = unit(async (tx) => {
      runs++;
      const tooMany = take(gid, 'sku = ?').replace('- 1', '- 2');
      await intact.changesOneRow(tx, tooMany, [gid]);
    });
    await expect(failing).rejects.toMatchObject({ message: expect.stringContaining('out of range') });
    expect(runs).toBe(1);
  });

  test('sends a statement at once that has just missed', async () => {
    const { unit, gid } = await begun();
    await unit((tx) => intact.changesOneRow(tx, take(gid), ['unknown']));
    const seen: unknown[] = [];
    await unit(async (tx) => {
      seen.push(await intact.changesOneRow(tx, take(gid), [gid]), await piecesSent(gid));
      seen.push(await intact.changesOneRow(tx, take(gid), [gid]));
    });
    expect(seen).toEqual([true, 0, false]);
  });
});

describe('changesOneRow', () => {
  test.each([
    ['takes one statement in a packet', {}, (db: DataSource, work: Work) => intact.inTransaction(db, work)],
    ['is not run by the library', SEVERAL, (db: DataSource, work: Work) => db.transaction(work)],
  ])('sends its statement at once in a transaction that %s', async (_, source, unit) => {
    const { db, append, gid } = await start({ source });
    const seen: unknown[] = [];
    await unit(db, async (tx) => {
      await append(tx, gid);
      seen.push(await intact.changesOneRow(tx, take(gid), [gid]), await piecesSent(gid));
      seen.push(await intact.changesOneRow(tx, take(gid), [gid]));
    });
    expect(seen).toEqual([true, 0, false]);
    expect(await deferring.insertedBy(gid)).toEqual({ steps: 0, messages: 1 });
  });

  test('refuses a statement that changes no rows, and one that counts a row as two', async () => {
    const { db } = await start();
    for (const statement of [
      'SELECT 1',
      'REPLACE INTO goods VALUES (1, 1, 1)',
      'INSERT INTO goods ON DUPLICATE KEY UPDATE',
    ])
      await expect(intact.inTransaction(db, (tx) => intact.changesOneRow(tx, statement))).rejects.toThrow(
        `an UPDATE or a DELETE, not ${statement.slice(0, 40)}`,
      );
  });

  test('refuses a statement that returns rows, and undoes it', async () => {
    const { db, gid } = await start();
    const returning = `DELETE FROM goods WHERE sku = ? RETURNING pieces`;
    const deleting = intact.inTransaction(db, (tx) => intact.changesOneRow(tx, returning, [gid]));
    await expect(deleting).rejects.toThrow(/without RETURNING|SQL syntax/); // MySQL has no RETURNING
    expect(await piecesSent(gid)).toBe(1);
  });

  /** Two buyers of one piece, with a row of each sale. */
  async function salesOfOnePiece(library: Library): Promise<number> {
    const { db, gid } = await start({ library });
    for (const buyer of [1, 2])
      await library
        .inTransaction(db, async (tx) => {
          if (!(await library.changesOneRow(tx, take(gid), [gid]))) throw new library.Rejected('OUT_OF_STOCK');
          await library.deferStatement(tx, 'INSERT INTO step VALUES (?, ?)', [gid, buyer]);
        })
        .catch((error) => expect(error).toMatchObject({ reason: 'OUT_OF_STOCK' }));
    return (await deferring.insertedBy(gid)).steps;
  }

  test('sells one piece once', async () => {
    expect(await salesOfOnePiece(intact)).toBe(1);
  });

  test('control: without its check, one piece is sold twice', async () => {
    expect(await salesOfOnePiece(libraryOf(buildMutant(copyBuild('unchecked-change'), uncheckedChange)))).toBe(2);
  });
});
