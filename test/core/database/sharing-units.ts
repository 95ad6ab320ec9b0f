// Units of a service that may share a transaction.
import type { EntityManager } from 'typeorm';
import type * as Shared from '../../../libs/dtx/src/core/database/shared-transactions.js';
import type { Unit } from '../../../libs/dtx/src/core/database/unit-of-work.js';
import { ROOT } from '../../fixtures/app-process.js';
import { built } from '../../fixtures/built-library.js';
import { type Library, libraryOf } from '../../fixtures/little-service.js';
import { sql } from '../../fixtures/sandbox.js';
import { buildMutant, copyBuild } from '../../mutants/build-copy.js';
import type { Mutant } from '../../mutants/mutant.js';
import { Deferring, intact, SEVERAL } from './deferring-service.js';

export type Run = (tx: EntityManager) => Promise<unknown>;

/** The largest number of units in one transaction. */
export const MOST = 8;
let count = 0;

/** Databases with tables for marks and steps, and a procedure that commits. */
export async function openSharing(name: string): Promise<Deferring> {
  const deferring = await Deferring.open(name);
  await sql(deferring.sandbox, 'payment', 'CREATE TABLE mark (id VARCHAR(64) NOT NULL PRIMARY KEY)');
  await sql(
    deferring.sandbox,
    'payment',
    'CREATE PROCEDURE commits(gid VARCHAR(64)) BEGIN INSERT INTO step VALUES (gid, 1); COMMIT; INSERT INTO step VALUES (gid, 2); END',
  );
  return deferring;
}

export interface Side {
  readonly library: Library;
  readonly root: string;
}

const INTACT: Side = { library: intact, root: ROOT };

export function without(mutant: Mutant): Side {
  const root = buildMutant(copyBuild(mutant.name), mutant);
  return { library: libraryOf(root), root };
}

/** A service, and units of it that share. The mark of a unit is a row under its unique key, as that of a message. */
export async function startSharing(deferring: Deferring, { library, root }: Side = INTACT) {
  const { database } = await deferring.start({ library, source: SEVERAL });
  const { Sharing }: typeof Shared = built('core/database/shared-transactions.js', root);
  const sharing = new Sharing(MOST);
  const transactions: EntityManager[] = [];
  const unit = <T>(gid: string, run: (tx: EntityManager) => Promise<T>): Unit<T> => ({
    what: 'test',
    sharing,
    first: { statement: 'INSERT INTO mark VALUES (?)', values: [gid], ifThere: () => new Error('there') },
    run: (tx) => {
      transactions.push(tx);
      return run(tx);
    },
  });
  const together = (units: Array<readonly [string, Run]>) =>
    Promise.allSettled(
      units.map(([gid, run]) => library.withGid(gid, () => database.work.run<unknown>(unit(gid, run)))),
    );
  await untilAllShare(sharing, () => together(gidsOf(MOST).map((gid) => [gid, async () => {}] as const)));
  transactions.length = 0;
  const afterCommit = database.hooks.afterCommit.bind(database.hooks);
  return {
    library,
    afterCommit,
    together,
    shared: () => new Set(transactions).size < transactions.length,
    transactions,
  };
}

/** Only the inside shows how many units may share. */
export const inside = <T>(of: object) => of as unknown as T;

/** The first transactions of a process are small, and slow ones make the next ones smaller. */
export async function untilAllShare(sharing: object, round: () => Promise<unknown>): Promise<void> {
  for (let rounds = 1; inside<{ size: { units: number } }>(sharing).size.units < MOST; rounds++) {
    if (rounds > 100) throw new Error(`after ${rounds} rounds, not yet ${MOST} units share`);
    await round();
  }
}

export const gidsOf = (n: number) => Array.from({ length: n }, () => `shared-${++count}`);
export const reasonOf = (one: PromiseSettledResult<unknown>) =>
  one.status === 'rejected' ? (one.reason as Error).message : one.value;

export async function stepsOf({ sandbox }: Deferring, gids: readonly string[]): Promise<number[]> {
  const rows = await sql<{ gid: string }>(sandbox, 'payment', 'SELECT gid FROM step WHERE gid IN (?)', [gids]);
  return gids.map((gid) => rows.filter((row) => row.gid === gid).length);
}
