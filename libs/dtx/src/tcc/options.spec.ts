import { expect, it } from 'vitest';
import { parseOptions } from '../core/options.js';
import { tccOptions } from './options.js';

it('a retention that removes barrier rows while a Try may still run is refused', () => {
  const given = { timeoutMs: 60_000, retentionMs: 60_000 };
  expect(() => parseOptions('tcc', tccOptions, given)).toThrow(
    'tcc.retentionMs: expected at least 10 times timeoutMs (60000), got 60000',
  );
  expect(parseOptions('tcc', tccOptions, {}).timeoutMs).toBe(5_000);
});
