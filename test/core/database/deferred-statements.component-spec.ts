import type { EntityManager } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { libraryOf } from '../../fixtures/little-service.js';
import { TcpProxy } from '../../fixtures/tcp-proxy.js';
import { until } from '../../fixtures/until.js';
import { buildMutant, copyBuild } from '../../mutants/build-copy.js';
import { deferredBeforeTheCheck, swallowedByUsers } from './deferred-statements.mutants.js';
import { Deferring, intact, type Started, step } from './deferring-service.js';

/** Where a packet may hold several statements, the outbox row travels with the next statement or with COMMIT. */
let deferring: Deferring;
const start: Deferring['start'] = (setting) => deferring.start(setting);
const insertedBy = (gid: string) => deferring.insertedBy(gid);

beforeAll(async () => {
  deferring = await Deferring.open('deferred');
});

afterEach(() => deferring.end());

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

describe('an answer to the packet with COMMIT that is lost', () => {
  test('is an unknown outcome, and the commit is complete', async () => {
    const proxy = await TcpProxy.start(deferring.sandbox.databases.payment);
    try {
      const { append, unit, gid } = await start({ url: proxy.url });
      proxy.onBytes('to-server', (chunk) => {
        if (chunk.includes('dtx_outbox') && chunk.includes('; COMMIT')) proxy.blackHole('to-client');
      });
      const lost = unit(async (tx) => {
        await step(tx, gid, 1);
        await append(tx, gid);
      }).catch((error: unknown) => error);
      await until('the unit is committed', async () => (await insertedBy(gid)).messages === 1);
      proxy.cut();
      expect(intact.isOutcomeUnknown(await lost)).toBe(true);
      expect(await insertedBy(gid)).toEqual({ steps: 1, messages: 1 });
    } finally {
      await proxy.close();
    }
  });
});

describe('the error of an outbox row that waits', () => {
  /** The session has stopped its clock, so the row has no time, and the server refuses it. */
  const stopClock = 'SET timestamp = 2000000000';

  /** The user swallows the error of a later statement, and commits. */
  const swallowing = ({ append, unit, gid }: Started) =>
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

  const unitWith = ({ append, db, gid }: Started, statements: readonly string[]) =>
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
