import { expect, it } from 'vitest';
import { parseOptions } from '../core/options.js';
import { tccOptions } from './options.js';

it('barriers that go while a Try may still be running are refused', () => {
  const given = { timeoutMs: 60_000, retentionMs: 60_000 };
  expect(() => parseOptions('tcc', tccOptions, given)).toThrow(
    'tcc.retentionMs: expected at least 10 times timeoutMs (60000), got 60000',
  );
  expect(parseOptions('tcc', tccOptions, {}).timeoutMs).toBe(5_000);
});
