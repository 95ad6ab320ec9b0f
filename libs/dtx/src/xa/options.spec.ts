import { describe, expect, it } from 'vitest';
import { parseOptions } from '../core/options.js';
import { heldForMs, xaOptions } from './options.js';

const problemOf = (given: object) => {
  try {
    parseOptions('xa', xaOptions, given);
    return 'none';
  } catch (error) {
    return (error as Error).message;
  }
};

describe('options of XA that contradict each other', () => {
  it('are refused when decisions are forgotten while a transaction may still be running', () => {
    expect(problemOf({ timeoutMs: 300_000, retentionMs: 60_000, attemptsMax: 1_000 })).toBe(
      'xa.retentionMs: expected at least 10 times timeoutMs (300000), got 60000',
    );
    expect(problemOf({ timeoutMs: 6_000, retentionMs: 60_000 })).toBe('none');
  });

  it('are refused when the attempts are over before a server ends the session of a stopped process', () => {
    const problem = problemOf({
      timeoutMs: 10_000,
      attemptsMax: 3,
      backoff: { firstMs: 100, factor: 2, capMs: 5_000 },
    });
    expect(problem).toMatch(/^xa\.attemptsMax: 3 attempts with this backoff are over after 700 ms, before .* 12000 ms/);
    expect(problem).toContain('timeoutMs is 10000');
    expect(problem).not.toContain('\n');
  });

  it('are not the defaults, nor the longest timeout with attempts for it', () => {
    expect(problemOf({})).toBe('none');
    expect(problemOf({ timeoutMs: 600_000 })).toMatch(/^xa\.attemptsMax: 60 attempts/);
    expect(problemOf({ timeoutMs: 600_000, attemptsMax: 200 })).toBe('none');
  });
});

it('a session may hold a branch for its transaction’s time, and then for the silence that its server bears', () => {
  expect(heldForMs({ timeoutMs: 5_000 })).toBe(5_000 + 7_000 + 1_000);
});
