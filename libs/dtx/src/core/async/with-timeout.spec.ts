import { describe, expect, it } from 'vitest';
import { withTimeout } from './with-timeout.js';

const never = new Promise<never>(() => {});

describe('withTimeout', () => {
  it('returns the result of work that ends in time', async () => {
    expect(await withTimeout(10_000, Promise.resolve('done'), () => 'late')).toBe('done');
  });

  it('throws the error of work that fails in time', async () => {
    const work = Promise.reject(new Error('failed'));
    await expect(withTimeout(10_000, work, () => 'late')).rejects.toThrow('failed');
  });

  it('returns the late result after the time limit', async () => {
    expect(await withTimeout(1, never, () => 'late')).toBe('late');
  });

  it('throws the late error after the time limit', async () => {
    const late = () => {
      throw new Error('too late');
    };
    await expect(withTimeout(1, never, late)).rejects.toThrow('too late');
  });

  it('ignores an error of the work after the time limit', async () => {
    let fail!: (error: Error) => void;
    const work = new Promise<string>((_, reject) => {
      fail = reject;
    });
    expect(await withTimeout(1, work, () => 'late')).toBe('late');
    fail(new Error('after the end'));
    await Promise.resolve();
  });
});
