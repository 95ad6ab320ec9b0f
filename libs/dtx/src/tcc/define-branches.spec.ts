import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { branchesOf as branchesWithin, rowsOf, type TccCalls } from './define-branches.js';
import { defineParticipant } from './participant-contract.js';

const branchesOf = (define: (calls: TccCalls) => unknown) => branchesWithin(define, 10_000);

const money = defineParticipant({
  name: 'payment.funds',
  version: 2,
  args: z.object({ amount: z.int(), tags: z.array(z.string()).default([]) }),
});

test('the branches are the calls of define, in order, with arguments as the participant gets them', () => {
  const { branches, isIncomplete } = branchesOf((t) => {
    t.call(money, { amount: 1, tags: ['a'] });
    t.call(money, { amount: 2 } as never);
  });
  expect(branches).toEqual([
    { branch: 0, participant: 'payment.funds', version: 2, args: { amount: 1, tags: ['a'] } },
    { branch: 1, participant: 'payment.funds', version: 2, args: { amount: 2, tags: [] } },
  ]);
  expect(isIncomplete()).toBe(false);
});

test('a change of the arguments after the call does not reach the branch', () => {
  const args = { amount: 1, tags: ['a'] };
  const { branches } = branchesOf((t) => {
    t.call(money, args);
    args.amount = 1_000;
    args.tags.push('b');
  });
  args.tags.push('c');
  expect(branches[0]!.args).toEqual({ amount: 1, tags: ['a'] });
});

test('a call after define has returned throws, adds nothing, and is remembered', () => {
  let late: TccCalls | undefined;
  const { branches, isIncomplete } = branchesOf((t) => {
    late = t;
    t.call(money, { amount: 1, tags: [] });
  });
  expect(() => late!.call(money, { amount: 2, tags: [] })).toThrow(
    /payment\.funds v2 came after define had returned; make all calls before it returns/,
  );
  expect(branches).toHaveLength(1);
  expect(isIncomplete()).toBe(true);
});

test('a call after define has thrown throws as well', () => {
  let late: TccCalls | undefined;
  const broken = (t: TccCalls) => {
    late = t;
    throw new Error('no price');
  };
  expect(() => branchesOf(broken)).toThrow('no price');
  expect(() => late!.call(money, { amount: 2, tags: [] })).toThrow(/after define had returned/);
});

test('an asynchronous define is refused, and its own later failure raises no unhandled rejection', async () => {
  let ended: Promise<void> | undefined;
  const define = (t: TccCalls) => {
    ended = (async () => {
      await Promise.resolve();
      t.call(money, { amount: 1, tags: [] });
    })();
    return ended;
  };
  expect(() => branchesOf(define)).toThrow(/define of a TCC transaction is asynchronous/);
  await expect(ended).rejects.toThrow(/after define had returned/);
});

test('a thenable that define returns is refused and not begun', () => {
  let begun = 0;
  const lazy = Object.defineProperty({}, 'then', { value: () => begun++ });
  const define = (t: TccCalls) => {
    t.call(money, { amount: 1, tags: [] });
    return lazy;
  };
  expect(() => branchesOf(define)).toThrow(/asynchronous/);
  expect(begun).toBe(0);
});

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
