import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ROOT } from '../fixtures/app-process.js';

/** The tables of faults in test/<folder>/README.md: each row names a test that plays the fault. */
const numbered = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`);
const TABLES = [
  { folder: 'saga', names: numbered('', 22) },
  { folder: 'local-message', names: [...numbered('D', 12), ...numbered('O', 9)] },
].map(({ folder, names }) => ({ folder, names, rows: rowsOf(folder) }));

function rowsOf(folder: string) {
  return readFileSync(join(ROOT, 'test', folder, 'README.md'), 'utf8')
    .split('\n')
    .filter((line) => /^\| [DO]?\d+ \|/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, nr, fault, , , named = '']) => {
      const [, file = '', title = ''] = /^\[.*?\]\((.*?)\)(?:: (.*)|, row .*)$/.exec(named) ?? [];
      const [, failpoint] = /, row `(.*)`$/.exec(named) ?? [];
      return { nr: nr!, fault: fault!, file, title, failpoint };
    });
}

describe.each(TABLES)('the table of $folder', ({ folder, names, rows }) => {
  test('has a row for each fault', () => {
    expect(rows.map(({ nr }) => nr)).toEqual(names);
  });

  test.each(rows)('fault $nr has a test: $fault', ({ file, title, failpoint }) => {
    const path = join(ROOT, 'test', folder, file);
    expect(existsSync(path), path).toBe(true);
    const place = failpoint ? join(ROOT, 'test', 'crash-matrix', `${folder}.rows.ts`) : path;
    const wanted = failpoint ? `failpoint: '${failpoint}'` : title;
    expect(wanted).not.toBe('');
    expect(readFileSync(place, 'utf8')).toContain(wanted);
  });
});
