import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { prepareBranch } from '../../fixtures/xa-branch-database.js';
import { SEVERAL } from './deferring-service.js';
import { deadlock, ENDING, HARMLESS, HIDDEN, prepareWays, type Way } from './transaction-ending-statements.js';
import { heardOf, PLACES, type Place, Places, stepsOf } from './transaction-entry-points.js';

/** The transaction that is committed is the one that was begun, at every place where one is; control: `unguarded`. */
let sandbox: Sandbox;
let places: Places;
let xa: Awaited<ReturnType<typeof prepareBranch>>;
const library = libraryOf();

beforeAll(async () => {
  sandbox = await freshSandbox('one_transaction', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE step (gid VARCHAR(64) NOT NULL, n INT NOT NULL) ENGINE=InnoDB');
  await sql(sandbox, 'payment', 'CREATE TABLE heard (gid VARCHAR(64) NOT NULL) ENGINE=InnoDB');
  await sql(sandbox, 'payment', 'CREATE TABLE nothing (n INT) ENGINE=InnoDB');
  await prepareWays(sandbox);
  xa = await prepareBranch(sandbox, 'inventory', library);
});

const append = (tx: EntityManager, gid: string) => places.tell(tx, gid);

/** Two steps with a message between them, and something before the second. */
const unitWith =
  (between: (tx: EntityManager) => Promise<unknown>, { isSwallowed }: { isSwallowed: boolean }) =>
  async (tx: EntityManager, gid: string) => {
    await tx.query('INSERT INTO step VALUES (?, 1)', [gid]);
    await append(tx, gid);
    const done = between(tx);
    await (isSwallowed ? done.catch(() => {}) : done);
    await tx.query('INSERT INTO step VALUES (?, 2)', [gid]);
  };

async function leftBy(place: Place, way: Way, how: { isSwallowed: boolean }) {
  const { gid, error } = await places.run(
    place,
    unitWith((tx) => way.run(tx, sandbox), how),
  );
  await places.quiet(place, gid);
  const heard = await heardOf(sandbox, gid);
  if (place === 'half message') expect(await heardOf(sandbox, `${gid}.half`)).toBe(heard);
  return { gid, error, steps: await stepsOf(sandbox, gid), heard };
}

/** In the short run each way is tried at every third place, and each place has every third way. */
const some = (ways: readonly Way[], place: Place) =>
  ways.filter((_, index) => process.env.DTX_TEST_ALL || (index + PLACES.indexOf(place)) % 3 === 0);

/** What the pool of the user takes in a packet. At the other places the library uses a pool of its own. */
const POOLS: ReadonlyArray<{ pool: string; source: object; at: readonly Place[] }> = [
  { pool: 'one statement', source: {}, at: PLACES },
  { pool: 'several statements', source: SEVERAL, at: ['inTransaction', 'dataSource.transaction'] },
];

describe.each(POOLS)('with a pool that takes $pool in a packet', ({ source, at }) => {
  beforeAll(async () => {
    places = await Places.open({ sandbox, library, xa, source });
  });

  afterAll(() => places?.close());

  describe.each(at)('at the place %s', (place) => {
    test.each(some(ENDING, place))('the unit commits nothing when it fails on $name', async (way) => {
      const { steps, heard } = await leftBy(place, way, { isSwallowed: false });
      expect({ steps, heard }).toEqual({ steps: [], heard: 0 });
    });

    test.each(some(ENDING, place))('the unit commits as a whole when it swallows the refusal of $name', async (way) => {
      const { steps, heard } = await leftBy(place, way, { isSwallowed: true });
      expect({ steps, heard }).toEqual({ steps: [1, 2], heard: 1 });
    });

    // In XA a statement that fails is the end of the transaction, by its own rule.
    const harmless = some(HARMLESS, place).filter(({ fails }) => !fails || place !== 'last resource of XA');

    test.each(harmless)('the unit may use $name', async (way) => {
      const { steps, heard } = await leftBy(place, way, { isSwallowed: false });
      expect({ steps, heard }).toEqual({ steps: [1, 2], heard: 1 });
    });

    test.each(HIDDEN)(
      'the unit ends at $name: no later statement runs, no message is sent, and the end is reported',
      async (way) => {
        const { gid, error, steps, heard } = await leftBy(place, way, { isSwallowed: true });
        expect({ steps, heard }).toEqual({ steps: [1], heard: 0 });
        expect(await places.told(place, gid, error), 'one report of the end').toBe(1);
      },
    );

    test('the unit runs again as a whole after a deadlock that its code has swallowed', async () => {
      let isFirst = true;
      const way = {
        name: 'deadlock',
        run: async (tx: EntityManager) => {
          const again = !isFirst;
          isFirst = false;
          if (!again) await deadlock(tx, sandbox);
        },
      };
      const { steps, heard, error } = await leftBy(place, way, { isSwallowed: true });
      const isRunAgain = !['dataSource.transaction', 'last resource of XA'].includes(place);
      expect({ steps, heard }).toEqual(isRunAgain ? { steps: [1, 2], heard: 1 } : { steps: [], heard: 0 });
      if (!isRunAgain) expect(error).toBeDefined();
    });
  });
});
