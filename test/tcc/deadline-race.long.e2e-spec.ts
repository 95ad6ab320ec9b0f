import { afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { contradictions, racers } from './deadline-race.js';
import { EFFECTS } from './effect-table.js';
import { type Library, type LittleApp, libraryOf } from './little-app.js';

let sandbox: Sandbox;
let library: Library;
const running: LittleApp[] = [];

beforeAll(async () => {
  sandbox = await freshSandbox('tcc_races', { audited: false });
  library = libraryOf();
  await sql(sandbox, 'payment', EFFECTS);
});

afterEach(() => Promise.all(running.splice(0).map((app) => app.close())));

test('deadline and decision race 1,000 times, and each caller gets the one outcome on disk', async () => {
  const race = await racers(sandbox, library);
  running.push(...race.apps);
  const { told, late } = await race.run(1_000);
  const confirmed = told.filter(({ status }) => status === 'CONFIRMED').length;
  console.log(
    `${told.length} answered, ${confirmed} of them CONFIRMED; compare-and-sets too late: ${JSON.stringify(late)}`,
  );
  expect(await contradictions(sandbox, told)).toEqual([]);
  expect(told).toHaveLength(1_000);
  // A race needs both sides. A busy machine shifts it to one side.
  expect(Math.min(confirmed, told.length - confirmed, late.CONFIRM)).toBeGreaterThan(20);
}, 180_000);
