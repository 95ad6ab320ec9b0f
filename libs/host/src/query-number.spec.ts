import { describe, expect, it } from 'vitest';
import { queryNumber } from './query-number.js';

describe('queryNumber', () => {
  it.each(['', ' 7', '7 ', '+7', '-7', '1e1', '0x7', '7.0', '101', '99999999999', ['7', '8'], {}, '٧'])(
    'refuses %j as a number from 0 to 100',
    (value) => {
      expect(queryNumber(0, 100).safeParse(value).success).toBe(false);
    },
  );

  it('accepts the bounds 0 and 100', () => {
    expect(queryNumber(0, 100).parse('0')).toBe(0);
    expect(queryNumber(0, 100).parse('100')).toBe(100);
  });
});
