import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { arrivals, play, recorders } from './barrier-model.js';
import { EFFECTS } from './effect-table.js';
import { type Library, LittleApp, libraryOf } from './little-app.js';

const RUNS = process.env.DTX_TEST_ALL ? 2_000 : 200;
let sandbox: Sandbox;
let library: Library;

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_barrier', { audited: false });
  library = libraryOf();
  await sql(sandbox, 'payment', EFFECTS);
});

let app: LittleApp;

beforeAll(async () => {
  app = await LittleApp.start({ sandbox, library, providers: recorders(library) });
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
