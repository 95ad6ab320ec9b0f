import { describe, expect, it } from 'vitest';
import { barOf } from './bench-progress.js';
import { barChart, roundUp } from './svg-charts.js';
import { withTables } from './written-report.js';

const PAGE = 'before\n<!-- bench:a -->\n\n| head |\n| --- |\n| old |\n| older |\n\n<!-- /bench:a -->\nafter\n';

describe('withTables', () => {
  it('replaces the rows and keeps the head and the rest, also at a second run', () => {
    const once = withTables(PAGE, { a: [['new']], elsewhere: [['x']] }, 'page.md');
    expect(once).toBe('before\n<!-- bench:a -->\n\n| head |\n| --- |\n| new |\n\n<!-- /bench:a -->\nafter\n');
    expect(withTables(once, { a: [['new']] }, 'page.md')).toBe(once);
  });

  it.each([PAGE.replace('| --- |', ''), PAGE.replace('<!-- /bench:a -->', '')])(
    'refuses a marked place without a table or without an end',
    (page) => {
      expect(() => withTables(page, { a: [['new']] }, 'page.md')).toThrow(/page\.md.*bench:a/);
    },
  );
});

describe('barChart', () => {
  it('draws one bar for each value, its height in proportion, and none for a missing value', () => {
    const series = [
      { name: 'a < b', values: [100, 50] },
      { name: 'c', values: [null, 25] },
    ];
    const svg = barChart({ title: 'T', unit: 'u', labels: ['1', '2'], series });
    const heights = [...svg.matchAll(/height="([\d.]+)" fill/g)].map(([, height]) => Number(height));
    const bars = heights.filter((height) => height !== 10);
    expect(bars).toEqual([228, 114, 57]);
    expect(svg).toContain('a &lt; b');
    expect(svg).toContain('prefers-color-scheme:dark');
  });

  it.each([
    [1, 1],
    [412, 500],
    [101, 200],
    [820, 1_000],
  ])('rounds the end of the axis up: %s to %s', (value, end) => {
    expect(roundUp(value)).toBe(end);
  });
});

it('the progress bar is empty at the begin and full at the end', () => {
  expect(barOf(0, 18)).toBe(`[${'.'.repeat(24)}]  0/18`);
  expect(barOf(18, 18)).toBe(`[${'#'.repeat(24)}] 18/18`);
});
