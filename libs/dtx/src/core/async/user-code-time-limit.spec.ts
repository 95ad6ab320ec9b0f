import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { TookTooLong } from '../errors/errors.js';
import { inTimeOf } from './user-code-time-limit.js';

const LIMIT = { what: 'the handler of order.stock', limitMs: 1_000 };
const never = () => new Promise<never>(() => {});

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('inTimeOf', () => {
  it('returns what the work returns in time, at once or later', async () => {
    expect(await inTimeOf(LIMIT, () => 1)).toBe(1);
    expect(await inTimeOf(LIMIT, async () => 2)).toBe(2);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('throws the error of the work, and leaves no timer behind', async () => {
    await expect(inTimeOf(LIMIT, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    const throws = () => {
      throw new Error('at once');
    };
    await expect(inTimeOf(LIMIT, throws)).rejects.toThrow('at once');
    expect(vi.getTimerCount()).toBe(0);
  });

  it('throws TookTooLong at the limit, with the work, the limit and the option', async () => {
    const onLate = vi.fn();
    const late = inTimeOf({ ...LIMIT, option: 'xa.secondPhaseWaitMs', onLate }, never).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(999);
    expect(onLate).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(await late).toBeInstanceOf(TookTooLong);
    expect(String(await late)).toMatch(/the handler of order\.stock .* 1000 ms \(xa\.secondPhaseWaitMs\)/);
    expect(onLate).toHaveBeenCalledTimes(1);
  });

  it('takes a limit that no timer of Node can hold for the longest one', async () => {
    const onLate = vi.fn();
    void inTimeOf({ ...LIMIT, limitMs: 2 ** 40, onLate }, never).catch(() => {});
    await vi.advanceTimersByTimeAsync(86_400_000);
    expect(onLate).not.toHaveBeenCalled();
  });
});
