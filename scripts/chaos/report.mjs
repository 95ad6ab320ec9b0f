// What a run has shown, as text.
import { formatTable } from '../command/table.mjs';

const SHOWN_MAX = 20;

/** @returns {string} per route: its answers, and the longest that an instance which ran took for one */
export function routesTable(routes) {
  const rows = [...routes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([route, { answers, longestMs }]) => [
      route,
      longestMs,
      Object.entries(answers)
        .map(([answer, n]) => `${n} x ${answer}`)
        .join(', '),
    ]);
  return formatTable(['route', 'longest ms', 'answers (a code is no answer)'], rows);
}

/** @returns {string[]} */
export function wordsLines({ broken, counts }) {
  const outcomes = Object.entries(counts).map(([status, n]) => `${n} ${status}`);
  return [
    `clients were told of ${Object.values(counts).reduce((sum, n) => sum + n, 0)} purchases: ${outcomes.join(', ') || 'none'}`,
    broken.length === 0 ? 'every word that they were told holds' : `${broken.length} WRONG ANSWERS:`,
    ...broken.slice(0, SHOWN_MAX).map((line) => `  ${line}`),
  ];
}
