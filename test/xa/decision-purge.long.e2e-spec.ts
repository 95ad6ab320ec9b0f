import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { freshSandbox, type Sandbox } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { decisions, expectNothingLeft, preparedOf, witnesses } from './branches-and-decisions.js';
import { orphan } from './branches-by-hand.js';
import { everywhere, LittleXas, libraryOf, prepareTables } from './little-xa.js';

const library = libraryOf();
const HORIZON_MS = 60_000;
let sandbox: Sandbox;
const apps = new LittleXas(() => ({ sandbox, library }));

beforeAll(async () => {
  sandbox = await freshSandbox('xa_purge');
  await prepareTables(sandbox, library);
});

afterEach(() => apps.closeAll());

afterAll(() => expectNothingLeft(sandbox));

const decisionOn = async (id: string) => (await decisions(sandbox)).find((row) => row.id === id);

test('the purge deletes finished decisions and their witnesses after the retention, and nothing else', async () => {
  const app = await apps.start({ xa: { retentionMs: HORIZON_MS }, core: { purgeIntervalMs: 100 } });
  await app.run('young', everywhere('young'));
  const old = await orphan(sandbox, { ageMs: HORIZON_MS - 10_000 });
  // Then its decision was written. It may be purged before a test has seen it DONE.
  await until('the old one is rolled back', async () => (await preparedOf(sandbox)).length === 0);
  await until('the old one has gone, with its witnesses', async () => {
    const left = await Promise.all([decisionOn(old.id), witnesses(sandbox, old.gtrid)]);
    return left[0] === undefined && left[1].join('') === '';
  });
  const [young] = await decisions(sandbox, 'young');
  expect(young).toMatchObject({ state: 'DONE' });
  expect(await witnesses(sandbox, young!.gtrid)).toEqual(['branch', 'branch']);
});
