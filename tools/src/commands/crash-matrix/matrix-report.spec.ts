import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../../infra-files.js';
import { failedOf, type MatrixCase, type MatrixRun, rowsOf } from './cases.js';
import { pageOf, pageTables, tableOf } from './matrix-report.js';
import { mergedRun } from './merged-run.js';
import { PAGES, publishedRuns, withTables } from './written-page.js';

const held = { failpoint: 'xa.decided', app: 'order', when: '', mode: 'crash', isPassed: true, ms: 1_234 } as const;
const broken: MatrixCase = { ...held, mode: 'lost', isPassed: false, error: 'expected <1> to be 2' };
const runOf = (database: string, cases: readonly MatrixCase[]): MatrixRun => ({
  date: '2026-01-31',
  commit: 'abc',
  database,
  broker: 'RabbitMQ 4.3.6',
  node: '24.0.0',
  shards: [{ shard: '1/1', seconds: 61 }],
  cases,
  others: { passed: 1, failed: [] },
});

test('the cases of a failpoint in one app are one row', () => {
  const other = { ...held, app: 'payment' };
  expect(rowsOf([held, other, broken]).map(({ app, cells }) => [app, cells.map((one) => one?.isPassed)])).toEqual([
    ['order', [true, undefined, undefined, undefined, false]],
    ['payment', [true, undefined, undefined, undefined, undefined]],
  ]);
});

test('a failed case shows in the table, on the page and among the failures', () => {
  const run = runOf('10.11.19-MariaDB', [held, broken]);
  expect(tableOf(run)).toMatch(/^xa +xa\.decided +order +1\.2 s +FAILED$/m);
  expect(pageOf(run)).toContain('title="expected &lt;1&gt; to be 2"');
  expect(failedOf(run)).toEqual(['xa.decided in order: lost: expected <1> to be 2']);
});

test('the page counts the servers on which a case holds', () => {
  const tables = pageTables([runOf('9.7.0', [held, broken]), runOf('10.11.19-MariaDB', [held])]);
  expect(tables.cases).toEqual([['`xa.decided`', 'order', '✓✓', '', '', '', '0 of 1']]);
  expect(tables.runs!.map((row) => row.slice(1))).toEqual([
    ['`abc`', '10.11.19-MariaDB', 'RabbitMQ 4.3.6', '24.0.0', '1', '0', '2'],
    ['`abc`', '9.7.0', 'RabbitMQ 4.3.6', '24.0.0', '2', '1', '2'],
  ]);
});

test('shards that were played apart are one run, and the page counts them', () => {
  const part = (shard: string, cases: readonly MatrixCase[]) => ({
    ...runOf('9.7.0', cases),
    shards: [{ shard, seconds: 61 }],
  });
  const run = mergedRun([part('1/3', [held]), part('3/3', [{ ...held, app: 'payment' }])]);
  expect(run.cases.map(({ app }) => app)).toEqual(['order', 'payment']);
  expect(pageTables([run]).runs![0]!.at(-1)).toBe('2 + 2 (2 of 3 shards)');
  expect(() => mergedRun([part('1/3', []), part('1/3', [])])).toThrow('not the shards of one run: 1/3, 1/3');
  expect(() => mergedRun([part('1/3', []), part('2/2', [])])).toThrow('not the shards of one run: 1/3, 2/2');
  expect(() => mergedRun([part('1/3', []), { ...part('2/3', []), commit: 'def' }])).toThrow('their commit: abc, def');
});

test.each(PAGES)('%s shows the published results', (page) => {
  const text = readFileSync(join(ROOT, page), 'utf8');
  expect(withTables(text, publishedRuns())).toBe(text);
});
