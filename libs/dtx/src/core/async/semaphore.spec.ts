import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { isUnavailable } from '../errors/sql-errors.js';
import { NoPlace, Places } from './semaphore.js';

const LIMIT_MS = 1_000;

/** Work that ends when the test says so. */
function open() {
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { work: vi.fn(() => ended), end: () => end() };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('Places', () => {
  it('lets as much work begin as it has places, and the rest in order as places become free', async () => {
    const places = new Places('reads', 2);
    const works = [open(), open(), open(), open()];
    const ends = works.map(({ work }) => places.within(LIMIT_MS, work));
    const begun = () => works.map(({ work }) => work.mock.calls.length);
    await vi.advanceTimersByTimeAsync(0);
    expect(begun()).toEqual([1, 1, 0, 0]);
    works[1]!.end();
    await vi.advanceTimersByTimeAsync(0);
    expect(begun()).toEqual([1, 1, 1, 0]);
    works[0]!.end();
    works[2]!.end();
    works[3]!.end();
    await Promise.all(ends);
    expect(begun()).toEqual([1, 1, 1, 1]);
  });

  it('returns the result of the work, and throws its error', async () => {
    const places = new Places('reads', 1);
    expect(await places.within(LIMIT_MS, async () => 7)).toBe(7);
    await expect(places.within(LIMIT_MS, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
  });

  it('frees the place of work that has failed', async () => {
    const places = new Places('reads', 1);
    await places.within(LIMIT_MS, () => Promise.reject(new Error('broken'))).catch(() => {});
    expect(await places.within(LIMIT_MS, async () => 'next')).toBe('next');
  });

  it('refuses work that has waited for its limit, and never begins it', async () => {
    const places = new Places('reads', 1);
    const [first, late] = [open(), open()];
    const running = places.within(LIMIT_MS, first.work);
    const refused = expect(places.within(LIMIT_MS, late.work)).rejects.toThrow(NoPlace);
    await vi.advanceTimersByTimeAsync(LIMIT_MS);
    await refused;
    first.end();
    await running;
    expect(late.work).not.toHaveBeenCalled();
    expect(await places.within(LIMIT_MS, async () => 'next')).toBe('next');
  });

  it('refuses with an error that names the work and allows a retry', async () => {
    const places = new Places('reads of the order', 0);
    const refused = places.within(LIMIT_MS, async () => {}).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(LIMIT_MS);
    expect(String(await refused)).toContain('reads of the order');
    expect(isUnavailable(await refused)).toBe(true);
  });
});
