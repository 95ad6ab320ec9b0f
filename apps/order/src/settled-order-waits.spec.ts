import type { DataSource } from 'typeorm';
import { afterEach, describe, expect, it } from 'vitest';
import { SettledOrders } from './settled-order-waits.js';

/** A stand-in for the DataSource that returns the given final orders. */
function databaseOf(final: Set<string>): DataSource {
  const query = async (_: string, [ids]: [string[]]) => {
    if (final.has('unavailable')) throw new Error('the database is unavailable');
    return ids.filter((id) => final.has(id)).map((orderId) => ({ orderId }));
  };
  return { query } as unknown as DataSource;
}

const LONG_MS = 20_000;
const nobodyGone = new AbortController().signal;

describe('SettledOrders.wait', () => {
  const final = new Set<string>();
  let orders = new SettledOrders(databaseOf(final));
  afterEach(() => {
    orders.beforeApplicationShutdown();
    final.clear();
    orders = new SettledOrders(databaseOf(final));
  });

  it('resolves for all callers as soon as this process settles the order', async () => {
    const waiting = [1, 2, 3].map(() => orders.wait('a', LONG_MS, nobodyGone));
    orders.wake('b');
    orders.wake('a');
    await Promise.all(waiting);
  });

  it('resolves soon after another process settles the order', async () => {
    const waiting = orders.wait('a', LONG_MS, nobodyGone);
    final.add('a');
    await waiting;
  });

  it('resolves after waitMs, even if the database is unavailable', async () => {
    final.add('unavailable');
    const begun = performance.now();
    await orders.wait('a', 150, nobodyGone);
    expect(performance.now() - begun).toBeGreaterThan(100);
  });

  it('resolves when the caller disconnects, and at once for a disconnected caller', async () => {
    const gone = new AbortController();
    const waiting = orders.wait('a', LONG_MS, gone.signal);
    gone.abort();
    await waiting;
    await orders.wait('a', LONG_MS, gone.signal);
  });

  it('resolves when the app stops, and at once after that', async () => {
    const waiting = orders.wait('a', LONG_MS, nobodyGone);
    orders.beforeApplicationShutdown();
    await waiting;
    await orders.wait('a', LONG_MS, nobodyGone);
  });
});
