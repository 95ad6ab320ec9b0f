import { describe, expect, it } from 'vitest';
import { Semaphore } from './semaphore.js';

const semaphoreOf = (permits: number) => new Semaphore(permits, (ms) => new Error(`no permit within ${ms} ms`));
const LONG_MS = 10_000;

describe('a semaphore', () => {
  it('gives all its permits, and another one after a release', async () => {
    const semaphore = semaphoreOf(2);
    const [first] = [await semaphore.acquire(LONG_MS), await semaphore.acquire(LONG_MS)];
    const third = semaphore.acquire(LONG_MS);
    expect(semaphore.waiting).toBe(1);
    first();
    await third;
    expect(semaphore.waiting).toBe(0);
  });

  it('serves waiters in order', async () => {
    const semaphore = semaphoreOf(1);
    const release = await semaphore.acquire(LONG_MS);
    const order: number[] = [];
    const waiters = [1, 2, 3].map((n) =>
      semaphore.within(LONG_MS, async () => {
        order.push(n);
      }),
    );
    release();
    await Promise.all(waiters);
    expect(order).toEqual([1, 2, 3]);
  });

  it('rejects a caller after its time limit and gives it no permit later', async () => {
    const semaphore = semaphoreOf(1);
    const release = await semaphore.acquire(LONG_MS);
    await expect(semaphore.acquire(5)).rejects.toThrow('no permit within 5 ms');
    release();
    (await semaphore.acquire(LONG_MS))();
  });

  it('releases a permit only once', async () => {
    const semaphore = semaphoreOf(1);
    const release = await semaphore.acquire(LONG_MS);
    release();
    release();
    await semaphore.acquire(LONG_MS);
    await expect(semaphore.acquire(5)).rejects.toThrow();
  });

  it('releases the permit of work that throws', async () => {
    const semaphore = semaphoreOf(1);
    const failing = semaphore.within(LONG_MS, async () => {
      throw new Error('failed');
    });
    await expect(failing).rejects.toThrow('failed');
    expect(await semaphore.within(LONG_MS, async () => 'next')).toBe('next');
  });

  it('rejects waiters and later callers when it closes, and closes after the last release', async () => {
    const semaphore = semaphoreOf(1);
    const release = await semaphore.acquire(LONG_MS);
    const waiter = semaphore.acquire(LONG_MS);
    let isClosed = false;
    const closing = semaphore.close(new Error('closed')).then(() => {
      isClosed = true;
    });
    await expect(waiter).rejects.toThrow('closed');
    await expect(semaphore.acquire(LONG_MS)).rejects.toThrow('closed');
    expect(isClosed).toBe(false);
    release();
    await closing;
  });
});
