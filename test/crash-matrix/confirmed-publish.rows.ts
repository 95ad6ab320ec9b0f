import { expect } from 'vitest';
import { until } from '../fixtures/until.js';
import { claims, hintOf, isShown, stockOf } from './confirmed-publish.scheme.js';
import { few, notYet, type Row } from './matrix-types.js';

const modes = few('crash');

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
      expect(await claims(at.shop)).toContain('processing');
      expect(await isShown(at.shop.sandbox)).toBe(false);
    },
    recovered: ({ shop }) => until('another instance has updated the catalog', () => isShown(shop.sandbox)),
  },
  {
    ...receiver,
    failpoint: 'reliable-message.worked',
    disk: async (at) => {
      expect(await claims(at.shop)).toContain('processing');
      expect(await isShown(at.shop.sandbox)).toBe(true);
    },
    recovered: (at) =>
      until('another instance has done it again after the lease has expired', async () =>
        (await claims(at.shop)).every((one) => one === 'done'),
      ),
  },
  {
    ...receiver,
    failpoint: 'reliable-message.done',
    disk: async (at) => expect(new Set(await claims(at.shop))).toEqual(new Set(['done'])),
    recovered: notYet,
  },
];
