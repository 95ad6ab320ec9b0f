import { describe, expect, it } from 'vitest';
import { retryAfterMsOf } from './retry-after.js';

const NOON = Date.parse('2026-03-01T12:00:00Z');
const at = (offsetMs: number) => new Date(NOON + offsetMs).toUTCString();
const waitOf = (text?: string, date?: string) => retryAfterMsOf({ 'retry-after': text, date }, NOON);

describe('Retry-After', () => {
  it('means no wait when it is missing', () => {
    expect(waitOf()).toBe(0);
  });

  it.each([
    ['0', 0],
    ['1', 1_000],
    [' 120 ', 120_000],
    ['999999999', 999_999_999_000],
  ])('of %j counts seconds', (text, ms) => {
    expect(waitOf(text)).toBe(ms);
  });

  it('counts a date from the clock of the target, if the answer has a Date', () => {
    expect(waitOf(at(3_600_000 + 30_000), at(3_600_000))).toBe(30_000);
  });

  it('counts a date from our clock, if the answer has no Date or one that cannot be read', () => {
    expect(waitOf(at(45_000))).toBe(45_000);
    expect(waitOf(at(45_000), 'noon')).toBe(45_000);
  });

  it('means no wait for a date in the past', () => {
    expect(waitOf(at(-5_000))).toBe(0);
    expect(waitOf(at(0), at(5_000))).toBe(0);
  });

  it.each(['', 'soon', 'NaN', 'Infinity', 'Mon, 99 Foo 2026 12:00:00 GMT'])(
    'means no wait if it cannot be read: %j',
    (text) => {
      expect(waitOf(text)).toBe(0);
    },
  );
});
