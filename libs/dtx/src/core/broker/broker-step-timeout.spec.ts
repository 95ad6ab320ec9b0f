import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BrokerUnavailable } from '../errors/errors.js';
import { within } from './broker-step-timeout.js';

const never = new Promise<never>(() => {});

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('within', () => {
  it('returns the result of a step that ends in time, and leaves no timer behind', async () => {
    expect(await within(1_000, 'opening a channel', Promise.resolve('open'))).toBe('open');
    expect(vi.getTimerCount()).toBe(0);
  });

  it('throws the error of the step', async () => {
    await expect(within(1_000, 'opening a channel', Promise.reject(new Error('refused')))).rejects.toThrow('refused');
  });

  it('throws BrokerUnavailable at the limit, with the step and the limit', async () => {
    const late = within(1_000, 'opening a channel', never).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await late).toBeInstanceOf(BrokerUnavailable);
    expect(String(await late)).toContain('opening a channel: RabbitMQ did not answer within 1000 ms');
  });

  it('ends as soon as the signal says that the application stops, also if it said so before', async () => {
    const stop = new AbortController();
    const stopped = expect(within(1_000, 'opening a channel', never, stop.signal)).rejects.toThrow(
      /application is stopping/,
    );
    stop.abort();
    await stopped;
    await expect(within(1_000, 'opening a channel', never, stop.signal)).rejects.toThrow(/application is stopping/);
    expect(vi.getTimerCount()).toBe(0);
  });
});
