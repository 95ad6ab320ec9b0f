import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Library, libraryOf } from '../../fixtures/little-service.js';
import { freshSandbox, type Sandbox, sql } from '../../fixtures/sandbox.js';
import { until } from '../../fixtures/until.js';
import { prepareBranch } from '../../fixtures/xa-branch-database.js';
import { buildMutant, copyBuild } from '../../mutants/build-copy.js';
import { deadlock, prepareWays } from './transaction-ending-statements.js';
import { PLACES, type Place, Places, stepsOf } from './transaction-entry-points.js';
import { UNGUARDED } from './without-transaction-guard.mutant.js';

/** The control of `one-transaction.e2e-spec.ts`: without the guard, the same units leave halves of themselves. */
let sandbox: Sandbox;
let library: Library;
let places: Places;

beforeAll(async () => {
  sandbox = await freshSandbox('unguarded', { audited: false });
  await sql(sandbox, 'payment', 'CREATE TABLE step (gid VARCHAR(64) NOT NULL, n INT NOT NULL) ENGINE=InnoDB');
  await sql(sandbox, 'payment', 'CREATE TABLE heard (gid VARCHAR(64) NOT NULL) ENGINE=InnoDB');
  await prepareWays(sandbox);
  const root = buildMutant(copyBuild('unguarded'), UNGUARDED);
  library = libraryOf(root);
  const xa = await prepareBranch(sandbox, 'inventory', library);
  places = await Places.open({ sandbox, library, xa }, root);
});

afterAll(() => places?.close());

/** A step, a message, the statement that ends the transaction, and a step. The unit then fails if `fails` says so. */
async function halfOf(place: Place, ends: (tx: EntityManager) => Promise<unknown>, { fails }: { fails: boolean }) {
  const { gid } = await places.run(place, async (tx, of) => {
    await tx.query('INSERT INTO step VALUES (?, 1)', [of]);
    await places.tell(tx, of);
    await ends(tx).catch(() => {});
    await tx.query('INSERT INTO step VALUES (?, 2)', [of]);
    if (fails) throw new Error('the unit fails');
  });
  return until(`a step of ${gid} is committed`, async () => {
    const steps = await stepsOf(sandbox, gid);
    return steps.length > 0 && steps;
  });
}

describe.each(PLACES)('without the guard of transactions, at the place %s', (place) => {
  test.each(['COMMIT', 'CREATE TABLE IF NOT EXISTS journal (id INT)'])(
    'a unit that fails after %s leaves its first step',
    async (statement) => {
      expect(await halfOf(place, (tx) => tx.query(statement), { fails: true })).toContain(1);
    },
  );

  test('a step after a swallowed deadlock is committed without the steps before it', async () => {
    expect((await halfOf(place, (tx) => deadlock(tx, sandbox), { fails: false }))[0]).toBe(2);
  });
});
