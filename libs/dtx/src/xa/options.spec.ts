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

describe('options of XA', () => {
  it('a retention that removes decisions of transactions that may still run is refused', () => {
    expect(problemOf({ timeoutMs: 300_000, retentionMs: 60_000, attemptsMax: 1_000 })).toBe(
      'xa.retentionMs: expected at least 10 times timeoutMs (300000), got 60000',
    );
    expect(problemOf({ timeoutMs: 6_000, retentionMs: 60_000 })).toBe('none');
  });

  it('attempts that are used up before a server ends the session of a stopped process are refused', () => {
    const problem = problemOf({
      timeoutMs: 10_000,
      attemptsMax: 3,
      backoff: { firstMs: 100, factor: 2, capMs: 5_000 },
    });
    expect(problem).toMatch(
      /^xa\.attemptsMax: 3 attempts with this backoff are used up after 700 ms, before .* 12000 ms/,
    );
    expect(problem).toContain('timeoutMs is 10000');
    expect(problem).not.toContain('\n');
  });

  it('the defaults, and the longest timeout with enough attempts, are accepted', () => {
    expect(problemOf({})).toBe('none');
    expect(problemOf({ timeoutMs: 600_000 })).toMatch(/^xa\.attemptsMax: 60 attempts/);
    expect(problemOf({ timeoutMs: 600_000, attemptsMax: 200 })).toBe('none');
  });
});

it('a session may hold a branch for the time of its transaction and the idle limit of the server', () => {
  expect(heldForMs({ timeoutMs: 5_000 })).toBe(5_000 + 7_000 + 1_000);
});
