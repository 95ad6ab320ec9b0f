import { describe, expect, test } from 'vitest';
import { commandOf, settingsOf } from './settings.js';

const given = { minutes: '2', instances: '3', shrink: false };

test('steps are sorted, and each is named once', () => {
  expect(settingsOf({ ...given, seed: '7', only: '12, 3,7,3' })).toEqual({
    seed: 7,
    minutes: 2,
    instances: 3,
    only: [3, 7, 12],
    shrink: false,
  });
  expect(settingsOf({ ...given, seed: '7', only: 'none' }).only).toEqual([]);
  expect(settingsOf(given).only).toBeUndefined();
});

test('the printed command has the same settings', () => {
  const settings = settingsOf({ ...given, seed: '7' });
  expect(commandOf(settings)).toBe('npm run chaos -- --seed 7 --minutes 2 --instances 3');
  expect(commandOf(settings, [3, 12])).toBe('npm run chaos -- --seed 7 --minutes 2 --instances 3 --only 3,12');
  expect(commandOf(settings, [])).toMatch(/--only none$/);
});

describe('a bad value is named with its bounds and the usage', () => {
  test.each([
    [{ seed: 'x' }, '--seed is "x": it must be a whole number from 0 to'],
    [{ seed: '1', minutes: '0' }, '--minutes is "0": it must be a whole number from 1 to 600'],
    [{ seed: '1', instances: '2.5' }, '--instances is "2.5"'],
    [{ seed: '1', only: '3,,7' }, 'a step of --only is ""'],
    [{ seed: '1', only: 'first' }, 'a step of --only is "first"'],
    [{ only: '3' }, '--seed is missing: --shrink and --only need the seed'],
    [{ shrink: true }, '--seed is missing'],
  ])('%o', (wrong, why) => {
    const call = () => settingsOf({ ...given, ...wrong });
    expect(call).toThrow(why);
    expect(call).toThrow('usage: npm run chaos');
  });
});
