import { expect, it } from 'vitest';
import { parseOptions } from '../core/options.js';
import { tccOptions, timeoutOf } from './options.js';

it('a retention that removes barrier rows while a Try may still run is refused', () => {
  const given = { timeoutMs: 60_000, retentionMs: 60_000 };
  expect(() => parseOptions('tcc', tccOptions, given)).toThrow(
    'tcc.retentionMs: expected at least 10 times timeoutMs (60000), got 60000',
  );
  expect(parseOptions('tcc', tccOptions, {}).timeoutMs).toBe(5_000);
});

it('the time limit of one run has the bounds of the option, and its relation to the retention', () => {
  const options = parseOptions('tcc', tccOptions, {});
  expect(timeoutOf(undefined, options)).toBe(5_000);
  expect(timeoutOf(60_000, options)).toBe(60_000);
  for (const wrong of [0, -5, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2_147_483_648, 30 * 86_400_000])
    expect(() => timeoutOf(wrong, options)).toThrow(/^invalid timeoutMs of a TCC transaction: /);
  expect(() => timeoutOf(86_400_000, options)).toThrow(/at least 10 times timeoutMs/);
});
