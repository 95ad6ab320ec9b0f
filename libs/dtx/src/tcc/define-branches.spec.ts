import { expect, test } from 'vitest';
import { z } from 'zod';
import { branchesOf as branchesWithin, type TccCalls } from './define-branches.js';
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
