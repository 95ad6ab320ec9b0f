import type { EntityManager } from 'typeorm';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PLACES, type Place, Places, stepsOf } from '../core/database/places.js';
import { deadlock, prepareWays } from '../core/database/ways.js';
import { type Library, libraryOf } from '../fixtures/little-service.js';
import { until } from '../fixtures/until.js';
import { freshWorld, sql, type World } from '../fixtures/world.js';
import { prepareBranch } from '../fixtures/xa-branch.js';
import { buildMutant, copyBuild } from '../mutants/mutant.js';

/**
 * The control of `one-transaction.e2e-spec.ts`: the library without what keeps a transaction whole. Statements go to the
 * server as they come, and a COMMIT is a COMMIT. Then the same units leave halves of themselves.
 */
const SCOPE = 'core/database/transaction-scope.js';
const UNGUARDED = {
  name: 'unguarded',
  does: 'lets every statement through, and commits whatever transaction is there',
  breaks: 'a half of a unit is committed',
  foundBy: '',
  edits: [
    { file: SCOPE, find: `done) {\n        if (this.state === 'watching') {`, replace: 'done) {\n        if (true) {' },
    {
      file: SCOPE,
      find: 'this.watched(statementOf(text), error, result);',
      replace: `if (this.protocol && !error && statementOf(text).kind === 'ends')
                    this.over(this.protocol === 'commit' ? 'committed' : 'rolled back');`,
    },
    { file: SCOPE, find: `if (this.state !== 'watching')\n                await this.mustBeAlive();`, replace: '' },
    // biome-ignore lint/suspicious/noTemplateCurlyInString: as it is in the build
    { file: SCOPE, find: 'RELEASE SAVEPOINT ${BEGUN}; COMMIT', replace: 'COMMIT' },
  ],
};
let world: World;
let library: Library;
let places: Places;

beforeAll(async () => {
  world = await freshWorld('unguarded', { audited: false });
  await sql(world, 'payment', 'CREATE TABLE step (gid VARCHAR(64) NOT NULL, n INT NOT NULL) ENGINE=InnoDB');
  await sql(world, 'payment', 'CREATE TABLE heard (gid VARCHAR(64) NOT NULL) ENGINE=InnoDB');
  await prepareWays(world);
  const root = buildMutant(copyBuild('unguarded'), UNGUARDED);
  library = libraryOf(root);
  const xa = await prepareBranch(world, 'inventory', library);
  places = await Places.open({ world, library, xa }, root);
});

afterAll(() => places?.close());

/** A step, a message, what ends the transaction, and a step; then, unless the unit is said to succeed, it fails. */
async function halfOf(place: Place, ends: (tx: EntityManager) => Promise<unknown>, { fails }: { fails: boolean }) {
  const { gid } = await places.run(place, async (tx, of) => {
    await tx.query('INSERT INTO step VALUES (?, 1)', [of]);
    await places.tell(tx, of);
    await ends(tx).catch(() => {});
    await tx.query('INSERT INTO step VALUES (?, 2)', [of]);
    if (fails) throw new Error('the unit fails');
  });
  return until(`something of ${gid} is there`, async () => {
    const steps = await stepsOf(world, gid);
    return steps.length > 0 && steps;
  });
}

describe.each(PLACES)('without the guard, at the place %s', (place) => {
  test.each(['COMMIT', 'CREATE TABLE IF NOT EXISTS journal (id INT)'])(
    'a unit that fails has left its steps: %s',
    async (statement) => {
      expect(await halfOf(place, (tx) => tx.query(statement), { fails: true })).toContain(1);
    },
  );

  test('what comes after a swallowed deadlock is committed alone', async () => {
    expect((await halfOf(place, (tx) => deadlock(tx, world), { fails: false }))[0]).toBe(2);
  });
});
