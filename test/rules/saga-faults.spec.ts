import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';

/** The table of faults in test/saga/README.md: each row names a test that plays the fault. */
const FOLDER = join(ROOT, 'test', 'saga');
const FAULTS = 22;

const rows = readFileSync(join(FOLDER, 'README.md'), 'utf8')
  .split('\n')
  .filter((line) => /^\| \d+ \|/.test(line))
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .map(([, nr, fault, , , named = '']) => {
    const [, file = '', title = ''] = /^\[.*?\]\((.*?)\)(?:: (.*)|, row .*)$/.exec(named) ?? [];
    const [, failpoint] = /, row `(.*)`$/.exec(named) ?? [];
    return { nr: Number(nr), fault: fault!, file, title, failpoint };
  });

test('the table has a row for each fault', () => {
  expect(rows.map(({ nr }) => nr)).toEqual(Array.from({ length: FAULTS }, (_, index) => index + 1));
});

test.each(rows)('fault $nr has a test: $fault', ({ file, title, failpoint }) => {
  const path = join(FOLDER, file);
  expect(existsSync(path), path).toBe(true);
  const place = failpoint ? join(ROOT, 'test', 'crash-matrix', 'saga.rows.ts') : path;
  expect(readFileSync(place, 'utf8')).toContain(failpoint ? `failpoint: '${failpoint}'` : title);
});
