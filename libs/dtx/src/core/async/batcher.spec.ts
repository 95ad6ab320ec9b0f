import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Batcher } from './batcher.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A flush that the test ends. */
function byHand() {
  const flushes: Array<{ items: number[]; end: (error?: Error) => void }> = [];
  const flush = (items: number[]) =>
    new Promise<void>((resolve, reject) => {
      flushes.push({ items, end: (error) => (error ? reject(error) : resolve()) });
    });
  return { flushes, flush };
}

describe('a batcher', () => {
  it('flushes all items of one delay together and in order', async () => {
    const flush = vi.fn(async () => {});
    const batcher = new Batcher<number>({ delayMs: 5, batchMax: 10 }, flush);
    const added = Promise.all([1, 2, 3].map((item) => batcher.add(item)));
    await vi.advanceTimersByTimeAsync(4);
    expect(flush).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(flush.mock.calls).toEqual([[[1, 2, 3]]]);
    await added;
  });

  it('flushes at once when it is full', async () => {
    const flush = vi.fn(async () => {});
    const batcher = new Batcher<number>({ delayMs: 60_000, batchMax: 2 }, flush);
    await Promise.all([batcher.add(1), batcher.add(2)]);
    expect(flush.mock.calls).toEqual([[[1, 2]]]);
  });

  it('has one flush at a time, and gathers the items that are added meanwhile for the next one', async () => {
    const { flushes, flush } = byHand();
    const batcher = new Batcher<number>({ delayMs: 1, batchMax: 3 }, flush);
    const added = [1, 2, 3, 4, 5, 6, 7].map((item) => batcher.add(item));
    await vi.advanceTimersByTimeAsync(100);
    expect(flushes.map(({ items }) => items)).toEqual([[1, 2, 3]]);
    for (const ended of [0, 1, 2]) {
      flushes[ended]!.end();
      await vi.advanceTimersByTimeAsync(1);
    }
    expect(flushes.map(({ items }) => items)).toEqual([[1, 2, 3], [4, 5, 6], [7]]);
    await Promise.all(added);
  });

  it('rejects each item of a failed flush and no other', async () => {
    const { flushes, flush } = byHand();
    const batcher = new Batcher<number>({ delayMs: 1, batchMax: 2 }, flush);
    const settled = Promise.allSettled([1, 2, 3].map((item) => batcher.add(item)));
    await vi.advanceTimersByTimeAsync(1);
    flushes[0]!.end(new Error('the database is unavailable'));
    await vi.advanceTimersByTimeAsync(1);
    flushes[1]!.end();
    expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
  });

  it('drops items that need no flush any more, and resolves their adds', async () => {
    const { flushes, flush } = byHand();
    const batcher = new Batcher<number>({ delayMs: 1, batchMax: 10 }, flush);
    const [odd, even, other] = [1, 2, 3].map((item) => batcher.add(item));
    batcher.drop((item) => item % 2 === 1);
    await Promise.all([odd, other]);
    await vi.advanceTimersByTimeAsync(1);
    expect(flushes.map(({ items }) => items)).toEqual([[2]]);
    batcher.drop(() => true); // already in the flush: too late
    flushes[0]!.end(new Error('lost'));
    await expect(even).rejects.toThrow('lost');
  });

  it('drains all waiting items without the delay', async () => {
    const flushed: number[][] = [];
    const batcher = new Batcher<number>({ delayMs: 60_000, batchMax: 2 }, async (items) => void flushed.push(items));
    const added = Promise.all([1, 2, 3, 4, 5].map((item) => batcher.add(item)));
    await batcher.drain();
    await added;
    expect(flushed).toEqual([[1, 2], [3, 4], [5]]);
    await batcher.drain(); // nothing left: returns at once
    expect(vi.getTimerCount()).toBe(0);
  });

  it('settles every item exactly once, in order and within batchMax, for any sequence of adds and failures', async () => {
    const steps = fc.array(fc.oneof(fc.constant('add'), fc.constant('wait'), fc.constant('add')), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(steps, fc.integer({ min: 1, max: 5 }), fc.nat({ max: 4 }), async (plan, batchMax, failEvery) => {
        const batches: number[][] = [];
        let running = 0;
        const batcher = new Batcher<number>({ delayMs: 2, batchMax }, async (items) => {
          expect(++running).toBe(1);
          batches.push(items);
          await new Promise((resolve) => setTimeout(resolve, 3));
          running--;
          if (failEvery > 0 && batches.length % failEvery === 0) throw new Error('no');
        });
        const outcomes: Promise<string>[] = [];
        for (const step of plan) {
          if (step === 'wait') await vi.advanceTimersByTimeAsync(2);
          else
            outcomes.push(
              batcher.add(outcomes.length).then(
                () => 'done',
                () => 'failed',
              ),
            );
        }
        await vi.advanceTimersByTimeAsync(1_000);
        const fates = batches.flatMap((items, i) =>
          items.map(() => (failEvery > 0 && (i + 1) % failEvery === 0 ? 'failed' : 'done')),
        );
        expect(batches.flat()).toEqual(outcomes.map((_, i) => i));
        expect(await Promise.all(outcomes)).toEqual(fates);
        expect(Math.max(0, ...batches.map((items) => items.length))).toBeLessThanOrEqual(batchMax);
      }),
      { numRuns: 60 },
    );
  });
});
