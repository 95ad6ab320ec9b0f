import { describe, expect, it, vi } from 'vitest';
import { DatabaseUnavailable } from '../errors/errors.js';
import { retryWhileUnavailable } from './retry-while-unavailable.js';

const reconnect = { firstMs: 1, factor: 1, capMs: 1 };
const away = () => new DatabaseUnavailable('reading', new Error('connect ECONNREFUSED'));

describe('retryWhileUnavailable', () => {
  it('repeats a step while a dependency is unavailable, and returns its result', async () => {
    let tries = 0;
    const step = async () => {
      if (++tries < 4) throw away();
      return 'done';
    };
    expect(await retryWhileUnavailable({ lost: new AbortController().signal, reconnect }, step)).toBe('done');
    expect(tries).toBe(4);
  });

  it('reports the first error only', async () => {
    const waiting = vi.fn();
    let tries = 0;
    const step = async () => {
      if (++tries < 4) throw away();
    };
    await retryWhileUnavailable({ lost: new AbortController().signal, reconnect, waiting }, step);
    expect(waiting).toHaveBeenCalledTimes(1);
  });

  it('throws any other error of the step at once', async () => {
    const step = vi.fn(() => Promise.reject(new Error('a bug')));
    await expect(retryWhileUnavailable({ lost: new AbortController().signal, reconnect }, step)).rejects.toThrow(
      'a bug',
    );
    expect(step).toHaveBeenCalledTimes(1);
  });

  it('ends while it waits if the delivery is lost', async () => {
    const lost = new AbortController();
    const step = vi.fn(() => Promise.reject(away()));
    const waiting = () => setImmediate(() => lost.abort());
    const forLong = { firstMs: 600_000, factor: 1, capMs: 600_000 };
    await expect(retryWhileUnavailable({ lost: lost.signal, reconnect: forLong, waiting }, step)).rejects.toThrow(
      /abort/i,
    );
    expect(step).toHaveBeenCalledTimes(1);
  });

  it('does not repeat the step of a delivery that is lost already', async () => {
    const step = vi.fn(() => Promise.reject(away()));
    await expect(retryWhileUnavailable({ lost: AbortSignal.abort(), reconnect }, step)).rejects.toThrow(
      DatabaseUnavailable,
    );
    expect(step).toHaveBeenCalledTimes(1);
  });
});
