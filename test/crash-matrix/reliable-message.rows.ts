import { Redis } from 'ioredis';
import { expect } from 'vitest';
import { until } from '../fixtures/until.js';
import { hintOf, isTold, RESTOCK, stockOf } from './reliable-message.scheme.js';
import { type Case, few, type Row } from './row.js';

const modes = few('crash', 'pause, recover, continue', 'error');

/** What Redis says of the messages: `processing:...` or `done`. */
async function claims({ shop }: Case): Promise<string[]> {
  const redis = new Redis(shop.world.redis);
  try {
    const keys = await redis.keys('dtx:order.restock-hint:*');
    const values = await Promise.all(keys.map((key) => redis.get(key)));
    return values.map((value) => value!.replace(/:.*/, ''));
  } finally {
    redis.disconnect();
  }
}

const untilOthersDidIt = ({ shop }: Case) => until('another instance has told the catalog', () => isTold(shop.world));

/** The receiver's points; the others recover while it is paused, as soon as its lease has ended. */
const receiver = {
  app: 'order',
  wanted: RESTOCK,
  modes,
  receives: true,
  transactionOpen: true, // there is no order that anybody could wait for: `disk` waits for the catalog
} as const;

export const rows: Row[] = [
  {
    failpoint: 'reliable-message.published',
    app: 'inventory',
    wanted: RESTOCK,
    modes,
    unknownYet: true,
    transactionOpen: true,
    // The hole of the scheme: the catalog hears of what is not committed, and may never be.
    disk: async ({ shop }) => {
      const before = (await stockOf(shop.world))?.version ?? 0;
      await until('the catalog is ahead', async () => (await hintOf(shop.world))?.version === Number(before) + 1);
    },
  },
  {
    ...receiver,
    failpoint: 'reliable-message.claimed',
    disk: async (at) => {
      expect(await claims(at)).toContain('processing');
      expect(await isTold(at.shop.world)).toBe(false);
      await untilOthersDidIt(at);
    },
  },
  {
    ...receiver,
    failpoint: 'reliable-message.worked',
    disk: async (at) => {
      expect(await claims(at)).toContain('processing');
      expect(await isTold(at.shop.world)).toBe(true);
      const isDone = async () => (await claims(at)).every((one) => one === 'done');
      await until('another instance has done it again, once the lease had ended', isDone);
    },
  },
  {
    ...receiver,
    failpoint: 'reliable-message.done',
    disk: async (at) => expect(new Set(await claims(at))).toEqual(new Set(['done'])),
  },
];
