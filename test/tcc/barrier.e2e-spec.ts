import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freshWorld, sql, type World } from '../fixtures/world.js';
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

let app: LittleApp;

beforeAll(async () => {
  app = await LittleApp.start({ world, library, providers: recorders(library) });
});
afterAll(() => app?.close());

test(`the barrier accepts every order of arrival, with duplicates and simultaneous calls (${RUNS} generated)`, async () => {
  await fc.assert(
    fc.asyncProperty(arrivals, async (given) => {
      expect(await play(app, given)).toBeNull();
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
}, 240_000);
