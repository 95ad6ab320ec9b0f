// The figures of a case over all rounds, and their relation to the naive shop of the same run.
import { type Case, nameOf } from './cases.js';
import type { Count } from './counting-pass.js';
import type { CpuMs, Sample } from './measure.js';

export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

export interface Figures {
  readonly case: Case;
  readonly name: string;
  /** The median of the rounds. */
  readonly settledPerSecond: number;
  /** `settledPerSecond` relative to the naive shop at the same concurrency and skus. Null for the naive shop itself. */
  readonly againstNaive: number | null;
  readonly answerMs: Percentiles;
  readonly settledMs: Percentiles;
  /** Per purchase. From the counting pass, or from the rounds for a case without one. */
  readonly perPurchase: {
    readonly statements: number;
    readonly roundTrips: number | null;
    readonly commits: number;
    readonly fsyncs: number;
    readonly messages: number | null;
    readonly cpuMs: CpuMs;
  };
  readonly cpuAgainstNaive: number | null;
  readonly rssMiB: number | null;
}

/** The counts of a counting pass, by the name of the case. */
export type Counted = ReadonlyMap<string, Omit<Count, 'shapes'>>;

export function summarize(samples: readonly Sample[], counted: Counted): Figures[] {
  const byCase = new Map<string, Sample[]>();
  for (const sample of samples) byCase.set(nameOf(sample.of), [...(byCase.get(nameOf(sample.of)) ?? []), sample]);
  const alone = [...byCase.values()].map((rounds) => figuresOf(rounds, counted));
  return alone.map((one) => {
    const naive = alone.find((other) => isNaiveOf(other.case, one.case));
    if (!naive || naive === one) return one;
    return {
      ...one,
      againstNaive: one.settledPerSecond / naive.settledPerSecond,
      cpuAgainstNaive: ratio(totalCpu(one), totalCpu(naive)),
    };
  });
}

const isNaiveOf = (other: Case, one: Case) =>
  other.variant === 'naive' && other.concurrency === one.concurrency && other.skus === one.skus;

function figuresOf(rounds: readonly Sample[], counted: Counted): Figures {
  const [{ of }] = rounds as [Sample];
  const purchases = of.purchases * rounds.length;
  const per = (pick: (one: Sample) => number) => rounds.reduce((sum, one) => sum + pick(one), 0) / purchases;
  const cpu = (kind: keyof CpuMs) =>
    rounds.some(({ cpuMs }) => cpuMs[kind] === null) ? null : per(({ cpuMs }) => cpuMs[kind]!);
  const name = nameOf(of);
  const count = counted.get(name);
  return {
    case: of,
    name,
    settledPerSecond: median(rounds.map(({ settledPerSecond }) => settledPerSecond)),
    againstNaive: null,
    answerMs: percentiles(rounds.flatMap(({ answerMs }) => answerMs)),
    settledMs: percentiles(rounds.flatMap(({ settledMs }) => settledMs)),
    perPurchase: {
      statements: count?.statements ?? per(({ statements }) => statements),
      roundTrips: count?.roundTrips ?? null,
      commits: count?.commits ?? per(({ commits }) => commits),
      fsyncs: per(({ fsyncs }) => fsyncs),
      messages: count?.messages ?? null,
      cpuMs: { apps: cpu('apps'), databases: cpu('databases'), broker: cpu('broker') },
    },
    cpuAgainstNaive: null,
    rssMiB: rounds.every(({ rssBytes }) => rssBytes !== null)
      ? Math.max(...rounds.map(({ rssBytes }) => rssBytes!)) / 2 ** 20
      : null,
  };
}

function totalCpu({ perPurchase: { cpuMs } }: Figures): number | null {
  const { apps, databases, broker } = cpuMs;
  return apps === null || databases === null || broker === null ? null : apps + databases + broker;
}

const ratio = (one: number | null, other: number | null) => (one === null || !other ? null : one / other);

export function median(numbers: readonly number[]): number {
  return quantile(numbers, 0.5);
}

export function percentiles(numbers: readonly number[]): Percentiles {
  return { p50: quantile(numbers, 0.5), p95: quantile(numbers, 0.95), p99: quantile(numbers, 0.99) };
}

/** The smallest value that at least this share of the values does not exceed (nearest rank). */
function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
