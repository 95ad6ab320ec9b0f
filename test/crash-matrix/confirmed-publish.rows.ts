import { Redis } from 'ioredis';
import { expect } from 'vitest';
import { until } from '../fixtures/until.js';
import { hintOf, isShown, stockOf } from './confirmed-publish.scheme.js';
import { type Case, few, notYet, type Row } from './row.js';

const modes = few('crash', 'pause, recover, continue', 'error');

/** The state of the messages in Redis: `processing:...` or `done`. */
async function claims({ shop }: Case): Promise<string[]> {
  const redis = new Redis(shop.sandbox.redis);
  try {
    const keys = await redis.keys('dtx:order.restock-hint:*');
    const values = await Promise.all(keys.map((key) => redis.get(key)));
    return values.map((value) => value!.replace(/:.*/, ''));
  } finally {
    redis.disconnect();
  }
}

const receiver = { app: 'order', modes } as const;

export const rows: Row[] = [
  {
    failpoint: 'reliable-message.published',
    app: 'inventory',
    modes,
    recovered: notYet,
    // The hole of the scheme: the catalog shows a restock that is not committed, and may never be.
    disk: async ({ shop }) => {
      const before = (await stockOf(shop.sandbox))?.version ?? 0;
      await until('the catalog is ahead', async () => (await hintOf(shop.sandbox))?.version === Number(before) + 1);
    },
  },
  {
    ...receiver,
    failpoint: 'reliable-message.claimed',
    disk: async (at) => {
      expect(await claims(at)).toContain('processing');
      expect(await isShown(at.shop.sandbox)).toBe(false);
    },
    recovered: ({ shop }) => until('another instance has updated the catalog', () => isShown(shop.sandbox)),
  },
  {
    ...receiver,
    failpoint: 'reliable-message.worked',
    disk: async (at) => {
      expect(await claims(at)).toContain('processing');
      expect(await isShown(at.shop.sandbox)).toBe(true);
    },
    recovered: (at) =>
      until('another instance has done it again after the lease has expired', async () =>
        (await claims(at)).every((one) => one === 'done'),
      ),
  },
  {
    ...receiver,
    failpoint: 'reliable-message.done',
    disk: async (at) => expect(new Set(await claims(at))).toEqual(new Set(['done'])),
    recovered: notYet,
  },
];
