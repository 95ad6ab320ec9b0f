import { expect, test } from 'vitest';
import { idTimeMs, newId } from '../../libs/dtx/src/core/ids.js';
import { shiftedTimes } from './shifted-times.js';

const HOUR_MS = 3_600_000;

test('dates of rows and of JSON move by the time, and the year 9999 stays', () => {
  const text = `'2026-11-27 23:30:00.125', "2026-11-27T23:30:00.125Z", '9999-01-01 00:00:00.000'`;
  expect(shiftedTimes(text, HOUR_MS)).toBe(
    `'2026-11-28 00:30:00.125', "2026-11-28T00:30:00.125Z", '9999-01-01 00:00:00.000'`,
  );
});

test('a UUID v7 moves with its time, and a UUID v4 stays', () => {
  const id = newId(1_795_000_000_000);
  const moved = shiftedTimes(`0123456789abcdef.000064.${id}`, HOUR_MS).split('.')[2]!;
  expect(idTimeMs(moved)).toBe(1_795_000_000_000 + HOUR_MS);
  expect(moved.slice(13)).toBe(id.slice(13));
  const token = 'f47ac10b-58cc-4372-a567-0e02b2c3d479';
  expect(shiftedTimes(token, HOUR_MS)).toBe(token);
});

test('milliseconds since the epoch move, and amounts stay', () => {
  expect(shiftedTimes('{"dtx-made-at":"1795000000000","amount":1999}', 5)).toBe(
    '{"dtx-made-at":"1795000000005","amount":1999}',
  );
});
