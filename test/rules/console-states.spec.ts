import { expect, test } from 'vitest';
import { FINAL_STATES, isFinal, OPEN_STATES, stateClass } from '../../libs/console/src/states.js';
import { durableTables } from '../../libs/dtx/src/testing/index.js';

test('the console knows each state of each table, and which of them have work left', () => {
  expect(durableTables.length).toBeGreaterThan(5);
  const open = [...new Set(durableTables.flatMap(({ openStates }) => openStates))];
  // An SQL expression: a state, or one of two by a condition.
  const statesOf = (sql: string) => [...sql.matchAll(/(?:^|, )'([A-Z_]+)'/g)].map(([, state]) => state!);
  const final = [...new Set(durableTables.flatMap(({ finalState }) => statesOf(finalState)))];
  expect(final).toEqual(expect.arrayContaining(['DONE', 'CONFIRMED', 'CANCELLED', 'COMPLETED', 'COMPENSATED']));
  expect(open.filter((state) => !OPEN_STATES.includes(state) || isFinal(state))).toEqual([]);
  expect(final.filter((state) => !FINAL_STATES.includes(state))).toEqual([]);
  expect(OPEN_STATES.filter((state) => !open.includes(state))).toEqual([]);
});

test('a state has the colour of its meaning', () => {
  expect(['COMPLETED', 'COMPENSATED', 'CONFIRMED'].map(stateClass)).toEqual(['good', 'good', 'good']);
  expect(['PARKED', 'UNKNOWN', 'RUNNING', 'TRYING'].map(stateClass)).toEqual(['bad', 'bad', 'busy', 'busy']);
});
