import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshWorld, sql, type World } from '../support/world.js';
import { arrivals, EFFECTS, play, recorders } from './arrivals.js';
import { type Library, LittleApp, libraryOf } from './little-app.js';

const RUNS = process.env.DTX_TEST_ALL ? 2_000 : 200;
let world: World;
let library: Library;

beforeAll(async () => {
  world = await freshWorld('tcc_barrier', { audited: false });
  library = libraryOf();
  await sql(world, 'payment', EFFECTS);
});

describe.each(['READ COMMITTED', 'REPEATABLE READ'] as const)('the barrier at %s', (isolation) => {
  let app: LittleApp;

  beforeAll(async () => {
    app = await LittleApp.start({ world, library, isolation, providers: recorders(library) });
  });
  afterAll(() => app?.close());

  test('is really played at that level', async () => {
    const seen = await app.source.transaction(async (tx) => {
      const count = async () => Number((await tx.query('SELECT COUNT(*) AS n FROM effect'))[0].n);
      const before = await count();
      await sql(world, 'payment', `INSERT INTO effect (gid, phase) VALUES ('other', 'try')`);
      return (await count()) - before;
    });
    expect(seen).toBe(isolation === 'READ COMMITTED' ? 1 : 0);
  });

  test(`bears every order of arrival, with duplicates and several at once (${RUNS} generated)`, async () => {
    await fc.assert(
      fc.asyncProperty(arrivals, async (given) => {
        expect(await play(app, given)).toBeNull();
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  }, 240_000);
});
