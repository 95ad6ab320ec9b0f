import type { Phase, Round } from './measure-layouts.js';
import type { SimulationResult } from './simulation.js';

const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const perSecond = ({ rows, seconds }: Phase) => rows / seconds;
const perRow = (phase: Phase, what: 'commits' | 'fsyncs') => (phase.rows === 0 ? 0 : phase[what] / phase.rows);

/** Rows per second that a relay marks while nothing is inserted, the median of the rounds. */
export const relayRate = (rounds: readonly Round[]): number => median(rounds.map(({ relay }) => perSecond(relay)));
export const insertRate = (rounds: readonly Round[]): number => median(rounds.map(({ insert }) => perSecond(insert)));

/** What one shard carries if every row is inserted and relayed by the same server, which does one after the other. */
export const bothRate = (rounds: readonly Round[]): number => 1 / (1 / insertRate(rounds) + 1 / relayRate(rounds));

export function measuredRow(name: string, rounds: readonly Round[]): string {
  const spread = rounds.map(({ insert }) => Math.round(perSecond(insert)));
  const cells = [
    name,
    `${Math.round(insertRate(rounds))} (${Math.min(...spread)}-${Math.max(...spread)})`,
    Math.round(relayRate(rounds)),
    Math.round(bothRate(rounds)),
    ...(['commits', 'fsyncs'] as const).map((what) => median(rounds.map((one) => perRow(one.insert, what))).toFixed(2)),
    ...(['commits', 'fsyncs'] as const).map((what) => median(rounds.map((one) => perRow(one.relay, what))).toFixed(3)),
  ];
  return `| ${cells.join(' | ')} |`;
}

export const MEASURED_HEAD = [
  '| layout | insert rows/s (range) | claim+mark rows/s | both, rows/s | commits/insert | fsyncs/insert | commits/relayed row | fsyncs/relayed row |',
  '| --- | --- | --- | --- | --- | --- | --- | --- |',
].join('\n');

/** Databases that a total rate needs, if half of each one's capacity stays free. */
export const databasesFor = (rate: number, ratePerDatabase: number): number => Math.ceil(rate / (ratePerDatabase / 2));

export function simulatedLines(result: SimulationResult): string[] {
  const ms = (seconds: number) => `${(seconds * 1_000).toFixed(1)} ms`;
  return [
    `arrivals ${result.arrivals}, sent ${result.sent}, backlog ${result.backlog}, peak ${result.backlogPeak}`,
    `lag mean ${ms(result.lagMean)}, p50 ${ms(result.lagP50)}, p99 ${ms(result.lagP99)}`,
    `takeovers ${result.takeovers}, the longest after ${result.takeoverMax.toFixed(1)} s`,
  ];
}
