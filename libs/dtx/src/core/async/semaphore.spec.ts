import { describe, expect, it } from 'vitest';
import { Semaphore } from './semaphore.js';

const semaphoreOf = (permits: number) => new Semaphore(permits, (ms) => new Error(`no permit within ${ms} ms`));
const LONG_MS = 10_000;

describe('a semaphore', () => {
  it('gives as many permits as it has, and the next one when one comes back', async () => {
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

  it('refuses a caller that waited too long, and gives it no permit later', async () => {
    const semaphore = semaphoreOf(1);
    const release = await semaphore.acquire(LONG_MS);
    await expect(semaphore.acquire(5)).rejects.toThrow('no permit within 5 ms');
    release();
    (await semaphore.acquire(LONG_MS))();
  });

  it('takes a permit back once, however often it is released', async () => {
    const semaphore = semaphoreOf(1);
    const release = await semaphore.acquire(LONG_MS);
    release();
    release();
    await semaphore.acquire(LONG_MS);
    await expect(semaphore.acquire(5)).rejects.toThrow();
  });

  it('takes the permit back from work that throws', async () => {
    const semaphore = semaphoreOf(1);
    const failing = semaphore.within(LONG_MS, async () => {
      throw new Error('failed');
    });
    await expect(failing).rejects.toThrow('failed');
    expect(await semaphore.within(LONG_MS, async () => 'next')).toBe('next');
  });

  it('refuses waiters and later callers once it is closed, and is closed when every permit is back', async () => {
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
