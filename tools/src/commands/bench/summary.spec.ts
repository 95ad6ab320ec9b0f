import { describe, expect, it } from 'vitest';
import type { Case, Variant } from './cases.js';
import type { Sample } from './measure.js';
import { median, percentiles, summarize } from './summary.js';

const caseOf = (variant: Variant, more: Partial<Case> = {}): Case => ({
  variant,
  concurrency: 32,
  skus: 'many',
  notify: false,
  purchases: 10,
  ...more,
});

const sampleOf = (of: Case, settledPerSecond: number, cpu: number | null): Sample => ({
  of,
  settledPerSecond,
  answerMs: [1, 2, 3, 4],
  settledMs: [10, 20, 30, 40],
  statements: 70,
  commits: 40,
  fsyncs: 20,
  cpuMs: { apps: cpu, databases: 5, broker: 5 },
  rssBytes: 2 ** 20,
});

describe('percentiles', () => {
  it('are values of the list, by nearest rank, in any order of the list', () => {
    const values = Array.from({ length: 200 }, (_, n) => 200 - n);
    expect(percentiles(values)).toEqual({ p50: 100, p95: 190, p99: 198 });
    expect(percentiles([7])).toEqual({ p50: 7, p95: 7, p99: 7 });
    expect(median([30, 10, 20])).toBe(20);
  });

  it('of an empty list are not a number', () => {
    expect(percentiles([]).p50).toBeNaN();
  });
});

describe('summarize', () => {
  it('compares each case with the naive shop of the same load, and takes the median of the rounds', () => {
    const of = caseOf('xa', { notify: true });
    const samples = [
      sampleOf(caseOf('naive'), 100, 10),
      sampleOf(of, 40, 30),
      sampleOf(of, 50, 30),
      sampleOf(of, 90, 30),
      sampleOf(caseOf('naive', { concurrency: 8 }), 10, 10),
    ];
    const [naive, xa, alone] = summarize(samples, new Map());
    expect([naive?.againstNaive, alone?.againstNaive]).toEqual([null, null]);
    expect(xa).toMatchObject({ settledPerSecond: 50, againstNaive: 0.5, cpuAgainstNaive: 2, rssMiB: 1 });
    expect(xa?.perPurchase).toMatchObject({ statements: 7, commits: 4, fsyncs: 2, roundTrips: null, messages: null });
    expect(xa?.perPurchase.cpuMs).toEqual({ apps: 3, databases: 0.5, broker: 0.5 });
  });

  it('shows a figure that one round lacks as missing, and not as less', () => {
    const [, xa] = summarize(
      [sampleOf(caseOf('naive'), 100, 10), sampleOf(caseOf('xa'), 40, 30), sampleOf(caseOf('xa'), 40, null)],
      new Map(),
    );
    expect(xa).toMatchObject({ cpuAgainstNaive: null, perPurchase: { cpuMs: { apps: null, databases: 0.5 } } });
  });

  it('prefers the counts of the counting pass', () => {
    const of = caseOf('xa');
    const counts = { roundTrips: 13, messages: 1, statements: 20, commits: 5, fsyncs: 4 };
    const [xa] = summarize([sampleOf(of, 40, 30)], new Map([['xa, 32 at once, many skus', counts]]));
    expect(xa?.perPurchase).toMatchObject({ roundTrips: 13, messages: 1, statements: 20, commits: 5, fsyncs: 2 });
  });
});
