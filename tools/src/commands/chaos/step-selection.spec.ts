import { expect, test } from 'vitest';
import { BEGIN_MS, endOf, type Step } from './schedule.js';
import { chosenSteps } from './step-selection.js';

const step = (n: number, atMs: number, lastsMs: number): Step => ({ n, atMs, lastsMs, nemesis: 'x', target: {} });
const schedule = [step(1, 4_000, 1_000), step(2, 60_000, 20_000), step(3, 65_000, 1_000), step(4, 300_000, 5_000)];
const timesOf = (numbers: number[]) => chosenSteps(schedule, numbers).map(({ n, atMs }) => [n, atMs]);

test('the first chosen step begins at once', () => {
  expect(timesOf([4])).toEqual([[4, BEGIN_MS]]);
});

test('steps that overlap keep their distance, and idle time is cut to 10 s', () => {
  expect(timesOf([2, 3, 4])).toEqual([
    [2, 4_000],
    [3, 9_000],
    [4, 34_000],
  ]);
  expect(endOf(chosenSteps(schedule, [2, 3, 4]))).toBe(49_000);
});

test('a short idle time stays', () => {
  const close = [step(1, 4_000, 1_000), step(2, 8_000, 1_000)];
  expect(chosenSteps(close, [1, 2])).toEqual(close);
});

test('no step leaves the clients alone for a while', () => expect(endOf(chosenSteps(schedule, []))).toBe(14_000));

test('a step that the schedule does not have is named', () => {
  expect(() => chosenSteps(schedule, [2, 5, 9])).toThrow('--only names step 5, 9, but this seed has steps 1 to 4');
});
