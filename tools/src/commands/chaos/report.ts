// The findings of a run, as text.
import { formatTable } from '../../cli/table.js';
import type { Judgement } from './answer-checker.js';
import type { RouteFigures } from './clients.js';
import { type Evidence, gapsOf } from './history.js';

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

export function wordsLines({ findings, counts, trace }: Pick<Judgement, 'findings' | 'counts' | 'trace'>): string[] {
  const outcomes = Object.entries(counts).map(([status, n]) => `${n} ${status}`);
  return [
    `clients have an answer about ${purchasesIn(counts)} purchases: ${outcomes.join(', ') || 'none'}`,
    findings.length === 0 ? 'every answer holds' : `${findings.length} BROKEN INVARIANTS:`,
    ...findings.slice(0, SHOWN_MAX).map(({ invariant, text }) => `  ${invariant}: ${text}`),
    ...trace.map((line) => `  ${line}`),
  ];
}

export const purchasesIn = (counts: Judgement['counts']) => Object.values(counts).reduce((sum, n) => sum + n, 0);

/** Uses of each nemesis, the duplicates, and the reasons why the run proves nothing. */
export function evidenceLines(evidence: Evidence): string[] {
  const listed = (uses: Evidence['begun']) => Object.entries(uses).map(([name, count]) => `${count} x ${name}`);
  const failed = listed(evidence.failed);
  return [
    `faults: ${listed(evidence.begun).join(', ') || 'none'}`,
    ...(failed.length > 0 ? [`could not be begun: ${failed.join(', ')}`] : []),
    `${evidence.duplicates} messages came again`,
    `an operator retried ${evidence.byOperator.retried} rows and rejected ${evidence.byOperator.rejected}`,
    ...gapsOf(evidence).map((gap) => `PROVES NOTHING: ${gap}`),
  ];
}
