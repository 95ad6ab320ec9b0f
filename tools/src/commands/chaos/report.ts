// The findings of a run, as text.
import { formatTable } from '../../cli/table.js';
import type { Judgement } from './answer-checker.js';
import type { RouteFigures } from './clients.js';

const SHOWN_MAX = 20;

/** Per route: its answers, and the longest time that a running instance took for one. */
export function routesTable(routes: ReadonlyMap<string, RouteFigures>): string {
  const rows = [...routes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([route, { answers, longestMs }]) => [
      route,
      longestMs,
      Object.entries(answers)
        .map(([answer, n]) => `${n} x ${answer}`)
        .join(', '),
    ]);
  return formatTable(['route', 'longest ms', 'answers (a code stands for a missing answer)'], rows);
}

export function wordsLines({ broken, counts }: Pick<Judgement, 'broken' | 'counts'>): string[] {
  const outcomes = Object.entries(counts).map(([status, n]) => `${n} ${status}`);
  return [
    `clients have an answer about ${Object.values(counts).reduce((sum, n) => sum + n, 0)} purchases: ${outcomes.join(', ') || 'none'}`,
    broken.length === 0 ? 'every answer holds' : `${broken.length} WRONG ANSWERS:`,
    ...broken.slice(0, SHOWN_MAX).map((line) => `  ${line}`),
  ];
}
