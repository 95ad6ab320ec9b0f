// What code does behind a statement of its own that waits for the next packet, where it must not wait that long.
import type { EntityManager } from 'typeorm';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { contractOf, controllerOf, type Library, libraryOf } from '../../fixtures/little-service.js';
import { until } from '../../fixtures/until.js';
import { buildMutant, copyBuild } from '../../mutants/build-copy.js';
import type { Mutant } from '../../mutants/mutant.js';
import { hurriedStatements, largePackets, unsentStatements } from './deferred-statements.mutants.js';
import { Deferring, intact, type Started } from './deferring-service.js';

type Work = (tx: EntityManager) => Promise<unknown>;

let deferring: Deferring;

beforeAll(async () => {
  deferring = await Deferring.open('waiting_users');
});

afterEach(() => deferring.end());

const without = (mutant: Mutant) => libraryOf(buildMutant(copyBuild(mutant.name), mutant));

const unitsOf = {
  inTransaction:
    ({ unit }: Started) =>
    (work: Work) =>
      unit(work),
  'a transaction of the library':
    ({ database }: Started) =>
    (work: Work) =>
      database.work.run({ what: 'test', run: work }),
};

/** The text differs by test, since one that missed is sent at once for a while. */
const move = (gid: string) => `UPDATE step SET n = n + 1 WHERE gid = ? AND n = 7 AND gid <> '-- ${gid}'`;

describe.each(Object.entries(unitsOf))('code that fails behind a waiting statement in %s', (_, of) => {
  /** Code with a rule for rows that have moved. None can move. */
  async function refusal(library: Library, reason: (library: Library) => Error) {
    const started = await deferring.start({ library });
    const seen: boolean[] = [];
    const outcome = await of(started)(async (tx) => {
      const isMoved = await library.changesOneRow(tx, move(started.gid), [started.gid]);
      seen.push(isMoved);
      if (!isMoved) return 'not moved';
      throw reason(library);
    }).catch((error: Error) => error.message);
    return { seen, outcome };
  }

  const rejected = (library: Library) => new library.Rejected('MOVED_TOO_LATE');

  test.each([
    ['rejects', rejected],
    ['has a fault', () => new Error('fetch failed')],
  ])('runs again if the answer was false, and the code %s', async (_, reason) => {
    expect(await refusal(intact, reason)).toEqual({ seen: [true, false], outcome: 'not moved' });
  });

  test('control: without the look behind it, the code refuses because of an answer that is false', async () => {
    const { seen, outcome } = await refusal(without(unsentStatements), rejected);
    expect(seen).toEqual([true]);
    expect(outcome).toContain('MOVED_TOO_LATE');
  });

  test('fails with the error of a deferred statement, as it would have without waiting', async () => {
    const started = await deferring.start();
    const { gid } = started;
    const insert = 'INSERT INTO step VALUES (?, 1)';
    await started.db.query(insert, [gid]);
    const failing = of(started)(async (tx) => {
      await intact.deferStatement(tx, insert, [gid]);
      throw new intact.Rejected('LATER');
    });
    expect(intact.isDuplicateKey(await failing.catch((error: unknown) => error))).toBe(true);
  });

  test('gets the error of the statement in front, and not a duplicate of its own', async () => {
    const started = await deferring.start();
    const { gid, db } = started;
    await db.query('INSERT INTO step VALUES (?, 1)', [gid]);
    const seen: boolean[] = [];
    const failing = of(started)(async (tx) => {
      await intact.deferStatement(tx, 'INSERT INTO step VALUES (?, 1)', [gid]);
      seen.push(await intact.insertFirst(tx, 'step', { gid, n: 2 }));
    });
    expect(intact.isDuplicateKey(await failing.catch((error: unknown) => error))).toBe(true);
    expect(seen).toEqual([]);
  });

  test('gets the lock wait of the statement in front, and not a busy Idempotency-Key', async () => {
    const started = await deferring.start();
    const { gid, db, service } = started;
    await db.query('INSERT INTO step VALUES (?, 7)', [gid]);
    const keys = service.get(intact.IdempotencyKeys);
    const failing = db.transaction(async (holder) => {
      await holder.query('UPDATE step SET n = 8 WHERE gid = ?', [gid]);
      await of(started)(async (tx) => {
        await tx.query('SET SESSION innodb_lock_wait_timeout = 1');
        await intact.deferStatement(tx, 'UPDATE step SET n = 9 WHERE gid = ?', [gid]);
        await keys.claim(tx, { route: 'POST /steps', key: gid, body: {}, gid });
      });
    });
    expect(intact.isLockWait(await failing.catch((error: unknown) => error))).toBe(true);
  });

  test.each([
    ['is committed in part', () => new intact.TransactionEnded('elsewhere', { isCommittedInPart: true })],
    ['has an unknown outcome elsewhere', () => new intact.OutcomeUnknown('elsewhere')],
  ])('keeps its error and runs once if its work %s', async (_, reason) => {
    const started = await deferring.start();
    let runs = 0;
    const error = reason();
    const failing = of(started)(async (tx) => {
      runs++;
      if (await intact.changesOneRow(tx, move(started.gid), [started.gid])) throw error;
    });
    expect(await failing.catch((thrown: unknown) => thrown)).toBe(error);
    expect(runs).toBe(1);
  });

  test('sees the error of an empty statement, which is sent alone', async () => {
    const { gid, ...started } = await deferring.start();
    await of({ gid, ...started })(async (tx) => {
      await intact.deferStatement(tx, 'INSERT INTO step VALUES (?, 1)', [gid]);
      await expect(tx.query('')).rejects.toMatchObject({ driverError: { errno: 1065 } });
    });
    expect(await deferring.insertedBy(gid)).toEqual({ steps: 1, messages: 0 });
  });

  test('keeps its error if the answer was true', async () => {
    const started = await deferring.start();
    const { gid, db } = started;
    await db.query('INSERT INTO step VALUES (?, 7)', [gid]);
    const failing = of(started)(async (tx) => {
      if (await intact.changesOneRow(tx, move(gid), [gid])) throw new intact.Rejected('MOVED');
    });
    await expect(failing).rejects.toMatchObject({ reason: 'MOVED' });
    expect(await deferring.insertedBy(gid)).toEqual({ steps: 1, messages: 0 });
  });
});

describe('a confirmed message', () => {
  /** What the consumer hears of units that fail, in front of a last one that succeeds. */
  async function heardOf(library: Library, name: string): Promise<string[]> {
    const heard: string[] = [];
    const contract = contractOf(library, name, { replicated: true });
    const hear = async (_tx: EntityManager, { gid }: { gid: string }) => void heard.push(gid);
    const controllers = [controllerOf([[library.OnMessage(contract), hear]] as never)];
    const started = await deferring.start({ library, controllers });
    const { service, db, gid } = started;
    await db.query('INSERT INTO step VALUES (?, 1)', [gid]);
    const messages = service.get(library.ConfirmedMessages);
    const publish = (tx: EntityManager, gid: string) => messages.publish(tx, contract, { gid });
    for (const of of Object.values(unitsOf)) {
      const unit = of(started);
      await unit(async (tx) => {
        if (await library.changesOneRow(tx, move(gid), [gid])) await publish(tx, 'moved');
      });
      await unit(async (tx) => {
        await library.deferStatement(tx, 'INSERT INTO step VALUES (?, 1)', [gid]);
        await publish(tx, 'inserted');
      }).catch(() => {});
    }
    await started.unit((tx) => publish(tx, 'last'));
    await until('the last message is heard', () => heard.includes('last'));
    return heard;
  }

  test('is published behind the statements before it, so their failure prevents it', async () => {
    expect(await heardOf(intact, 'published-behind')).toEqual(['last']);
  });

  test('control: it overtakes them, and tells of what never happened', async () => {
    const heard = await heardOf(without(unsentStatements), 'published-before');
    expect(new Set(heard)).toEqual(new Set(['moved', 'inserted', 'last']));
  });
});

describe('a slow statement that waits', () => {
  /** Longer than the limit of a library statement, which is 3 s at least. */
  const slow = 'INSERT INTO step SELECT ?, 1 FROM (SELECT SLEEP(4)) s';

  async function run(library: Library) {
    const { database, gid } = await deferring.start({ library, core: { statementTimeoutMs: 1 } });
    const outcome = await database.work
      .run({ what: 'slow', run: (tx) => library.deferStatement(tx, slow, [gid]) })
      .then(
        () => 'committed',
        (error: unknown) => (library.isOutcomeUnknown(error) ? 'unknown' : error),
      );
    return { outcome, ...(await deferring.insertedBy(gid)) };
  }

  test('has the time of the code that has sent it', async () => {
    expect(await run(intact)).toMatchObject({ outcome: 'committed', steps: 1 });
  });

  test('control: with the time of a library statement its outcome is unknown', async () => {
    expect((await run(without(hurriedStatements))).outcome).toBe('unknown');
  });
});

describe('a statement of almost the largest packet', () => {
  async function run(library: Library) {
    const { db, unit, gid } = await deferring.start({ library });
    const [{ bytes }] = await db.query('SELECT @@max_allowed_packet AS bytes');
    const wide = 'x'.repeat(Number(bytes) - 2_000);
    return unit(async (tx) => {
      await library.deferStatement(tx, `INSERT INTO step SELECT ?, 1 FROM DUAL WHERE ? <> ''`, [
        gid,
        'y'.repeat(3_000),
      ]);
      const [{ n }] = await tx.query('SELECT LENGTH(?) AS n', [wide]);
      return Number(n) === wide.length;
    }).catch(({ errno }: { errno: number }) => errno);
  }

  test('is sent alone', async () => {
    expect(await run(intact)).toBe(true);
  });

  test('control: behind others it is larger than the server takes', async () => {
    expect(await run(without(largePackets))).not.toBe(true);
  });
});
