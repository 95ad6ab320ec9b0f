import { Logger } from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CASES, exploreAll, rowsOf, told } from './cases.js';

const CRASH = { crashes: 1, faults: 0 };
/** A lost answer, a lock wait that ends, a message that comes twice: one of these, at any step. */
const FAULT = { crashes: 0, faults: 1 };

beforeAll(() => Logger.overrideLogger(false));
afterAll(() => Logger.overrideLogger(new Logger()));

describe.each(CASES)('the model of $scheme', (one) => {
  test.each([
    ['a crash between any two steps', CRASH],
    ['a fault at any step', FAULT],
  ])(
    'holds with %s',
    async (_, budget) => {
      expect(told(await exploreAll(one, [budget]))).toBe('nothing is wrong');
    },
    600_000,
  );

  const planted = [...rowsOf(one.plantedForFaults)];
  test.runIf(planted.length > 0).each(planted)(
    'finds the planted mistake %s',
    async (_, mutants, what) => {
      expect(told(await exploreAll(one, [CRASH, FAULT], mutants))).toContain(what);
    },
    600_000,
  );

  const hidden = one.hidden.map((mutant) => [mutant.name, mutant] as const);
  test.runIf(hidden.length > 0).each(hidden)(
    'the mistake %s alone is made up for',
    async (_, mutant) => {
      expect(told(await exploreAll(one, [CRASH, FAULT], [mutant]))).toBe('nothing is wrong');
    },
    600_000,
  );
});
