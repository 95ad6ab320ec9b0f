import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BrokerUnavailable } from '../errors/errors.js';
import { Window } from './window.js';

const LIMIT_MS = 1_000;
const full = (limitMs: number) => `no place within ${limitMs} ms`;

/** Notes the order in which callers get a place. */
function entrants(window: Window) {
  const inside: string[] = [];
  const enter = (name: string) => window.enter(LIMIT_MS).then(() => void inside.push(name));
  return { inside, enter };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('Window', () => {
  it('gives each place that is left to the caller that has waited longest', async () => {
    const window = new Window(2, full);
    const { inside, enter } = entrants(window);
    const all = ['a', 'b', 'c', 'd'].map(enter);
    await vi.advanceTimersByTimeAsync(0);
    expect(inside).toEqual(['a', 'b']);
    window.leave();
    await vi.advanceTimersByTimeAsync(0);
    expect(inside).toEqual(['a', 'b', 'c']);
    window.leave();
    await Promise.all(all);
    expect(inside).toEqual(['a', 'b', 'c', 'd']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('refuses a caller that has waited for its limit, and gives its turn to the next one', async () => {
    const window = new Window(1, full);
    await window.enter(LIMIT_MS);
    const refused = expect(window.enter(LIMIT_MS)).rejects.toThrow('no place within 1000 ms');
    await vi.advanceTimersByTimeAsync(LIMIT_MS);
    await refused;
    const { inside, enter } = entrants(window);
    const next = enter('next');
    window.leave();
    await next;
    expect(inside).toEqual(['next']);
  });

  it('refuses with BrokerUnavailable, since nothing was sent', async () => {
    const window = new Window(0, full);
    const refused = expect(window.enter(0)).rejects.toBeInstanceOf(BrokerUnavailable);
    await vi.advanceTimersByTimeAsync(1);
    await refused;
  });

  it('has all its places again once all have left', async () => {
    const window = new Window(2, full);
    for (let round = 0; round < 3; round++) {
      await Promise.all([window.enter(LIMIT_MS), window.enter(LIMIT_MS)]);
      window.leave();
      window.leave();
    }
    expect(vi.getTimerCount()).toBe(0);
  });
});
