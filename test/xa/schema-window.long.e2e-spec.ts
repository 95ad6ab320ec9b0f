/**
 * The app of a branch database migrates it while older programs go on: additive migrations go unnoticed, others are
 * refused by name. The test is the newer app: it migrates as its start does.
 */
import { DataSource } from 'typeorm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DtxMigration } from '../../libs/dtx/src/index.js';
import type { AppProcess } from '../fixtures/app-process.js';
import { expectProblem } from '../fixtures/expect-problem.js';
import { type AppName, freshSandbox, type Sandbox, sql } from '../fixtures/sandbox.js';
import { call, Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { expectNothingLeft } from './branches-and-decisions.js';
import { libraryOf } from './little-xa.js';
import { buy } from './xa-purchase.js';

const BOOK = { buyerId: 'alice', sku: 'book', quantity: 1 };
const SCAN_MS = 100;
const library = libraryOf();
let sandbox: Sandbox;
let shop: Stack;
let order: AppProcess;
let keys = 0;

beforeAll(async () => {
  sandbox = await freshSandbox('xa_schema_window');
  shop = new Stack(sandbox, { options: { core: { scanIntervalMs: SCAN_MS }, xa: { acquireTimeoutMs: 200 } } });
  await shop.start();
  order = shop.of('order');
  await Promise.all([shop.account('alice', 10_000_000), shop.stock('book', 100_000)]);
});

afterAll(async () => {
  await shop?.stop();
  await expectNothingLeft(sandbox);
});

async function migrate(app: AppName, component: string, migration: DtxMigration): Promise<void> {
  const source = await new DataSource({ type: 'mysql', url: sandbox.databases[app] }).initialize();
  await library.migrate(source, component, [migration]);
  await source.destroy();
}

const addColumn = (table: string, column: string) => [`ALTER TABLE ${table} ADD COLUMN ${column} INT NULL`];

const purchase = () => buy(order.url, `window-${keys++}`, BOOK);

async function reasons(): Promise<Record<string, string>> {
  return ((await call(`${order.url}/health/ready`)).body.reasons ?? {}) as Record<string, string>;
}

const linesOf = (pattern: RegExp) =>
  order
    .log()
    .split('\n')
    .filter((line) => pattern.test(line));

/** Purchases one after the other, for many looks of the order app at the versions. */
async function statusesFor(ms: number): Promise<Set<number>> {
  const statuses = new Set<number>();
  for (const end = performance.now() + ms; performance.now() < end; ) statuses.add((await purchase()).status);
  return statuses;
}

test('XA purchases go on while additive migrations of a branch app and of the witness table are applied', async () => {
  const buying = statusesFor(30 * SCAN_MS);
  await migrate('payment', 'payment', { version: 2, name: 'tips', up: addColumn('account', 'tip'), compatibleFrom: 1 });
  const witness = { version: 2, name: 'notes', up: addColumn('dtx_xa_witness', 'note'), compatibleFrom: 1 };
  await migrate('inventory', 'dtx-xa-witness', witness);
  expect(await buying).toEqual(new Set([201]));
  expect(await statusesFor(10 * SCAN_MS)).toEqual(new Set([201]));
  expect(await reasons()).toEqual({});
});

test.each([
  ['says that older programs may not write', { compatibleFrom: 3 }, 3, /deploy this program with version 3 or later/],
  [
    'says nothing, so the versions must be equal',
    {},
    4,
    /state compatibleFrom if the migration to version 4 only adds/,
  ],
])('a migration that %s stops XA until it is open to this version', async (_, stated, version, remedy) => {
  const before = linesOf(/branch database payment/).length;
  await migrate('payment', 'payment', { version, name: 'other', up: ['DO 0'], ...stated });
  const refused = await until('it is refused', async () => {
    const answer = await purchase();
    return answer.status !== 201 && answer;
  });
  expectProblem(refused, 503);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(await reasons()).toEqual({ 'xa payment': expect.stringMatching(remedy) });
  expect((await statusesFor(5 * SCAN_MS)).has(201)).toBe(false);
  await sql(sandbox, 'payment', `UPDATE dtx_schema_version SET compatible_from = 1 WHERE component = 'payment'`);
  await until('XA buys again', async () => (await purchase()).status === 201);
  await until('nothing is degraded', async () => Object.keys(await reasons()).length === 0);
  const [begin, end, ...more] = linesOf(/branch database payment/).slice(before);
  expect(begin).toMatch(
    new RegExp(`has payment at version ${version}, open to programs from version ${version}, not 1`),
  );
  expect(end).toMatch(/branch database payment works again/);
  expect(more).toEqual([]);
});
