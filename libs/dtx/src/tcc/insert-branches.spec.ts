import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { rowsOf } from './insert-branches.js';

const ROOM = 1_000_000;

describe('the rows of a transaction', () => {
  const sizes = fc.array(fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 300_000, max: 1_200_000 })), {
    minLength: 1,
    maxLength: 12,
  });

  test('the rows hold each branch once, in order, and each statement keeps within its size', () => {
    fc.assert(
      fc.property(sizes, (all) => {
        const branches = all.map((size, branch) => ({
          branch,
          participant: 'a.b',
          version: 1,
          args: 'x'.repeat(size),
        }));
        const statements = rowsOf('g-1', branches);
        const expected = branches.map((one) => ['g-1', one.branch, 'a.b', 1, JSON.stringify(one.args)]);
        expect(statements.flat()).toEqual(expected);
        for (const rows of statements) {
          const chars = rows.reduce((sum, row) => sum + (row[4] as string).length, 0);
          expect(rows.length === 1 || chars <= ROOM).toBe(true);
        }
      }),
      { numRuns: 30 },
    );
  });

  test('small rows go into one statement', () => {
    const branches = Array.from({ length: 100 }, (_, branch) => ({ branch, participant: 'a.b', version: 1, args: {} }));
    expect(rowsOf('g-1', branches)).toHaveLength(1);
  });
});
