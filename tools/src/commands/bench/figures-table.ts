// The table of a bench for the terminal.
import { type Cell, formatTable } from '../../cli/table.js';
import type { Figures, Percentiles } from './summary.js';

const HEADER = [
  'case',
  'settled/s',
  'x naive',
  'answer ms p50 p95 p99',
  'settled ms p50 p95 p99',
  'packets',
  'statements',
  'commits',
  'fsyncs',
  'messages',
  'CPU ms apps + db + broker',
  'x naive',
  'RSS MiB',
];

export function figuresTable(figures: readonly Figures[]): string {
  return formatTable(HEADER, figures.map(rowOf));
}

function rowOf({ name, settledPerSecond, perPurchase, ...one }: Figures): Cell[] {
  const { roundTrips, statements, commits, fsyncs, messages, cpuMs } = perPurchase;
  return [
    name,
    settledPerSecond.toFixed(0),
    digits(one.againstNaive, 2),
    shown(one.answerMs),
    shown(one.settledMs),
    ...[roundTrips, statements, commits, fsyncs, messages].map((number) => digits(number, 1)),
    [cpuMs.apps, cpuMs.databases, cpuMs.broker].map((number) => digits(number, 1)).join(' + '),
    digits(one.cpuAgainstNaive, 2),
    digits(one.rssMiB, 0),
  ];
}

const shown = ({ p50, p95, p99 }: Percentiles) => [p50, p95, p99].map((ms) => ms.toFixed(ms < 10 ? 1 : 0)).join(' ');

/** A figure that was not measured is a dash. */
export const digits = (number: number | null, count: number): string => (number === null ? '-' : number.toFixed(count));
