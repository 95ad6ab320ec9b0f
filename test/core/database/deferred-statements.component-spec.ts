import { createConnection } from 'mysql2/promise';
import type { DataSource, EntityManager } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { contractOf, type Library, LittleService, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { buildMutant, copyBuild } from '../../mutants/build-copy.js';
import { deferredBeforeTheCheck, swallowedByUsers } from './deferred-statements.mutants.js';

/** Where a packet may hold several statements, the outbox row travels with the next statement or with COMMIT. */
let sandbox: Sandbox;
let service: LittleService;
let count = 0;
const intact = libraryOf();

const SEVERAL = { extra: { multipleStatements: true } };

beforeAll(async () => {
  sandbox = await freshSandbox('deferred', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE step (gid VARCHAR(64) NOT NULL, n INT NOT NULL, UNIQUE KEY (gid, n))');
});

afterEach(() => service?.close());

interface Setting {
  readonly library?: Library;
  readonly source?: object;
}

async function start({ library = intact, source = SEVERAL }: Setting = {}) {
  const contract = contractOf(library, `message-${++count}`);
  service = await LittleService.start({ sandbox, library, source });
  const append = (tx: EntityManager, gid: string) => service.get(library.LocalMessages).append(tx, contract, { gid });
  const db: DataSource = service.source;
  const unit = (work: (tx: EntityManager) => Promise<unknown>) => library.inTransaction(db, work);
  return { append, db, unit, gid: `deferred-${count}` };
}

const step = (tx: EntityManager, gid: string, n: number) => tx.query('INSERT INTO step VALUES (?, ?)', [gid, n]);

/** Rows that a session has inserted, committed or not. */
async function insertedBy(gid: string): Promise<{ steps: number; messages: number }> {
  const connection = await createConnection(sandbox.databases.payment);
  try {
    await connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED');
    const [steps] = await connection.query<never[]>('SELECT 1 FROM step WHERE gid = ?', [gid]);
    const [messages] = await connection.query<never[]>('SELECT 1 FROM dtx_outbox WHERE gid = ?', [gid]);
    return { steps: steps.length, messages: messages.length };
  } finally {
    await connection.end();
  }
}

describe('an outbox row in a transaction of the user', () => {
  test('is sent with the next statement, and the user gets the result of its own statement', async () => {
    const { append, unit, gid } = await start();
    await unit(async (tx) => {
      await step(tx, gid, 1);
      await append(tx, gid);
      expect(await insertedBy(gid)).toEqual({ steps: 1, messages: 0 });
      const rows = await tx.query('SELECT n, ? AS mark FROM step WHERE gid = ?', ["it's a ?; b", gid]);
      expect(rows).toEqual([{ n: 1, mark: "it's a ?; b" }]);
      expect(await insertedBy(gid)).toEqual({ steps: 1, messages: 1 });
      const changed = await step(tx, gid, 2);
      expect(changed.affectedRows).toBe(1);
    });
    expect(await insertedBy(gid)).toEqual({ steps: 2, messages: 1 });
  });

  test('is sent with COMMIT, as the last of several', async () => {
    const { append, unit, gid } = await start();
    await unit(async (tx) => {
      await step(tx, gid, 1);
      await append(tx, gid);
      await append(tx, gid);
      expect(await insertedBy(gid)).toEqual({ steps: 1, messages: 0 });
    });
    expect(await insertedBy(gid)).toEqual({ steps: 1, messages: 2 });
  });

  test('is inserted at once by a pool that takes one statement in a packet', async () => {
    const { append, unit, gid } = await start({ source: {} });
    await unit(async (tx) => {
      await append(tx, gid);
      expect(await insertedBy(gid)).toEqual({ steps: 0, messages: 1 });
    });
  });

  test('is not sent if the unit fails before its next statement', async () => {
    const { append, unit, gid } = await start();
    const failing = unit(async (tx) => {
      await step(tx, gid, 1);
      await append(tx, gid);
      throw new Error('the unit fails');
    });
    await expect(failing).rejects.toThrow('the unit fails');
    expect(await insertedBy(gid)).toEqual({ steps: 0, messages: 0 });
  });

  test('survives a later statement of the user that fails alone', async () => {
    const { append, unit, gid } = await start();
    await unit(async (tx) => {
      await step(tx, gid, 1);
      await append(tx, gid);
      const again = step(tx, gid, 1);
      await expect(again).rejects.toMatchObject({
        driverError: { errno: 1062, sql: expect.stringMatching(/^INSERT INTO step/) },
      });
    });
    expect(await insertedBy(gid)).toEqual({ steps: 1, messages: 1 });
  });
});

describe('the error of an outbox row that waits', () => {
  /** The session has stopped its clock, so the row has no time, and the server refuses it. */
  const stopClock = 'SET timestamp = 4102444800';

  /** The user swallows the error of a later statement, and commits. */
  const swallowing = ({ append, unit, gid }: Awaited<ReturnType<typeof start>>) =>
    unit(async (tx) => {
      await step(tx, gid, 1);
      await tx.query(stopClock);
      await append(tx, gid);
      await step(tx, gid, 2).catch(() => {});
    });

  test('ends the transaction with its reason, although the user swallows it', async () => {
    const started = await start();
    await expect(swallowing(started)).rejects.toThrow(/clock of this session is stopped/);
    expect(await insertedBy(started.gid)).toEqual({ steps: 0, messages: 0 });
  });

  test('is reported by COMMIT, and nothing is committed', async () => {
    const { append, db, gid } = await start();
    const failing = db.transaction(async (tx) => {
      await step(tx, gid, 1);
      await tx.query(stopClock);
      await append(tx, gid);
    });
    await expect(failing).rejects.toThrow(/clock of this session is stopped/);
    expect(await insertedBy(gid)).toEqual({ steps: 0, messages: 0 });
  });

  test('leaves the business without its message if it counts as an error of the user alone (control)', async () => {
    const library = libraryOf(buildMutant(copyBuild('deferred-swallowed'), swallowedByUsers));
    const started = await start({ library });
    await swallowing(started);
    expect(await insertedBy(started.gid)).toEqual({ steps: 1, messages: 0 });
  });
});

describe('COMMIT with an outbox row in a session whose transaction is another one', () => {
  type Query = (text: string, done: (error: unknown) => void) => void;

  /** Neither the guard nor TypeORM sees these statements. */
  async function besideTheGuard(tx: EntityManager, statements: readonly string[]): Promise<void> {
    const raw = (await tx.queryRunner!.connect()) as { constructor: { prototype: { query: Query } } };
    const { query } = raw.constructor.prototype;
    for (const text of statements)
      await new Promise<void>((resolve, reject) =>
        query.call(raw, text, (error) => (error ? reject(error) : resolve())),
      );
  }

  const unitWith = ({ append, db, gid }: Awaited<ReturnType<typeof start>>, statements: readonly string[]) =>
    db.transaction(async (tx) => {
      await step(tx, gid, 1);
      await append(tx, gid);
      await besideTheGuard(tx, statements);
    });

  test.each([
    ['has ended', ['ROLLBACK']],
    ['has ended and another one has begun', ['ROLLBACK', 'START TRANSACTION']],
  ])('sends no row if it %s', async (_, statements) => {
    const started = await start();
    await expect(unitWith(started, statements)).rejects.toThrow(/dtx_begun is missing/);
    expect(await insertedBy(started.gid)).toEqual({ steps: 0, messages: 0 });
  });

  test('sends a row without its business if the check comes behind the row (control)', async () => {
    const library = libraryOf(buildMutant(copyBuild('deferred-unchecked'), deferredBeforeTheCheck));
    const started = await start({ library });
    await unitWith(started, ['ROLLBACK']).catch(() => {});
    expect(await insertedBy(started.gid)).toEqual({ steps: 0, messages: 1 });
  });
});
