import { Logger } from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CASES, exploreAll, rowsOf, told } from './cases.js';

/** Every order of the steps. Crashes and faults are in `models.long.spec.ts`. */
const ORDERS = [{ crashes: 0, faults: 0 }];
/** Fewer states would mean that a model has lost steps. */
const STATES_MIN = 60;

beforeAll(() => Logger.overrideLogger(false));
afterAll(() => Logger.overrideLogger(new Logger()));

describe.each(CASES)('the model of $scheme', (one) => {
  test('holds in every order of the steps', async () => {
    const found = await exploreAll(one, ORDERS);
    expect(told(found)).toBe('nothing is wrong');
    expect(found.states).toBeGreaterThan(STATES_MIN);
    expect(found.ends).toBeGreaterThan(1);
  }, 60_000);

  test.each(rowsOf(one.planted))(
    'finds the planted mistake %s',
    async (_, mutants, what) => {
      expect(told(await exploreAll(one, ORDERS, mutants))).toContain(what);
    },
    60_000,
  );
});
