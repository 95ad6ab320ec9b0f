import type { DataSource } from 'typeorm';
import { afterEach, describe, expect, it } from 'vitest';
import { SettledOrders } from './settled-orders.js';

/** A database that knows only which orders are final. */
function databaseOf(final: Set<string>): DataSource {
  const query = async (_: string, [ids]: [string[]]) => {
    if (final.has('away')) throw new Error('the database is unavailable');
    return ids.filter((id) => final.has(id)).map((orderId) => ({ orderId }));
  };
  return { query } as unknown as DataSource;
}

const LONG_MS = 20_000;
const nobodyGone = new AbortController().signal;

describe('waiting for a settled order', () => {
  const final = new Set<string>();
  let orders = new SettledOrders(databaseOf(final));
  afterEach(() => {
    orders.beforeApplicationShutdown();
    final.clear();
    orders = new SettledOrders(databaseOf(final));
  });

  it('ends at once when this process settles it, for all who wait', async () => {
    const waiting = [1, 2, 3].map(() => orders.wait('a', LONG_MS, nobodyGone));
    orders.wake('b');
    orders.wake('a');
    await Promise.all(waiting);
  });

  it('ends soon when another process settles it', async () => {
    const waiting = orders.wait('a', LONG_MS, nobodyGone);
    final.add('a');
    await waiting;
  });

  it('ends when its time is up, also while the database is unavailable', async () => {
    final.add('away');
    const begun = performance.now();
    await orders.wait('a', 150, nobodyGone);
    expect(performance.now() - begun).toBeGreaterThan(100);
  });

  it('ends when the caller has gone, and does not begin for one who has', async () => {
    const gone = new AbortController();
    const waiting = orders.wait('a', LONG_MS, gone.signal);
    gone.abort();
    await waiting;
    await orders.wait('a', LONG_MS, gone.signal);
  });

  it('ends when the app stops, and does not begin after it', async () => {
    const waiting = orders.wait('a', LONG_MS, nobodyGone);
    orders.beforeApplicationShutdown();
    await waiting;
    await orders.wait('a', LONG_MS, nobodyGone);
  });

  it('is for a bounded number of callers, and each place is free again afterwards', async () => {
    for (let round = 0; round < 2; round++) {
      const waiting = Array.from({ length: 1_000 }, (_, i) => orders.wait(`order-${i}`, LONG_MS, nobodyGone));
      await orders.wait('one too many', LONG_MS, nobodyGone);
      for (let i = 0; i < waiting.length; i++) final.add(`order-${i}`);
      await Promise.all(waiting);
      final.clear();
    }
  });
});
