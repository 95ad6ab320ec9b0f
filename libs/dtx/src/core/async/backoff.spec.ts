import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Backoff, backoffMs, backoffSql } from './backoff.js';

const anyBackoff: fc.Arbitrary<Backoff> = fc.record({
  firstMs: fc.integer({ min: 1, max: 3_600_000 }),
  factor: fc.double({ min: 1, max: 10, noNaN: true }),
  capMs: fc.integer({ min: 1, max: 86_400_000 }),
});
const anyAttempt = fc.integer({ min: -3, max: 100_000 });
const anyRandom = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const middle = () => 0.5;

describe('the wait after a failed attempt', () => {
  it('grows by the factor from the first to the cap', () => {
    const backoff = { firstMs: 1_000, factor: 3, capMs: 600_000 };
    const waits = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((attempt) => backoffMs(backoff, attempt, middle));
    expect(waits).toEqual([1_000, 3_000, 9_000, 27_000, 81_000, 243_000, 600_000, 600_000, 600_000]);
  });

  it('treats attempt 0 and below as the first', () => {
    const backoff = { firstMs: 200, factor: 2, capMs: 5_000 };
    expect([0, -1, -1_000].map((attempt) => backoffMs(backoff, attempt, middle))).toEqual([200, 200, 200]);
  });

  it('is spread by a quarter to both sides', () => {
    const backoff = { firstMs: 1_000, factor: 1, capMs: 1_000 };
    expect(backoffMs(backoff, 1, () => 0)).toBe(750);
    expect(backoffMs(backoff, 1, () => 0.999_999)).toBe(1_250);
  });

  it('is a whole number within a quarter of firstMs and capMs for any options', () => {
    fc.assert(
      fc.property(anyBackoff, anyAttempt, anyRandom, (backoff, attempt, random) => {
        const ms = backoffMs(backoff, attempt, () => random);
        expect(Number.isSafeInteger(ms)).toBe(true);
        expect(ms).toBeGreaterThanOrEqual(Math.round(0.75 * Math.min(backoff.firstMs, backoff.capMs)));
        expect(ms).toBeLessThanOrEqual(Math.round(1.25 * backoff.capMs));
      }),
    );
  });

  it('never shrinks from one attempt to the next', () => {
    fc.assert(
      fc.property(anyBackoff, anyAttempt, (backoff, attempt) => {
        expect(backoffMs(backoff, attempt + 1, middle)).toBeGreaterThanOrEqual(backoffMs(backoff, attempt, middle));
      }),
    );
  });
});

describe('the same rule as SQL', () => {
  it('gives the same wait as the code, for any options and attempt', () => {
    fc.assert(
      fc.property(anyBackoff, anyAttempt, anyRandom, (backoff, attempt, random) => {
        const micros = evaluate(backoffSql(backoff, '(attempts + 1)'), attempt - 1, random);
        expect(Math.abs(micros / 1_000 - backoffMs(backoff, attempt, () => random))).toBeLessThanOrEqual(0.51);
      }),
    );
  });

  it('counts from the database clock, never from the app’s', () => {
    const sql = backoffSql({ firstMs: 1_000, factor: 2, capMs: 5_000 }, 'attempts');
    expect(sql).toMatch(/^UTC_TIMESTAMP\(3\) \+ INTERVAL .* MICROSECOND$/);
    expect(sql).not.toMatch(/\d{10}/);
  });
});

/** Calculates the interval of `backoffSql` as a server would. */
function evaluate(sql: string, attempts: number, random: number): number {
  const interval = /INTERVAL (.*) MICROSECOND$/.exec(sql)![1]!;
  const functions = { LEAST: Math.min, GREATEST: Math.max, POW: Math.pow, ROUND: Math.round, RAND: () => random };
  const calculate = new Function(...Object.keys(functions), 'attempts', `return ${interval}`);
  return calculate(...Object.values(functions), attempts);
}
