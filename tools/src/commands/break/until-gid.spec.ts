import { describe, expect, it } from 'vitest';
import type { Databases } from '../../sandbox/database-reader.js';
import type { AskedPurchase } from '../../shop/purchase.js';
import { untilGid } from './until-gid.js';

const NO_DATABASES = {} as Databases;
const asked = (answered: AskedPurchase['answered']): AskedPurchase => ({ orderId: 'the-order', key: 'key', answered });

describe('untilGid', () => {
  it('returns the id of a row', async () => {
    const stimulus = { findGid: async () => 'of-a-row', answered: Promise.resolve(null) };
    expect(await untilGid(stimulus, NO_DATABASES, 5_000)).toEqual({ gid: 'of-a-row', isRefusal: false });
  });

  it('returns the order of a refusal that has left no row', async () => {
    const answered = Promise.resolve(asked({ orderStatus: 'CANCELLED', reason: 'OUT_OF_STOCK' }));
    const stimulus = { findGid: async () => null, answered };
    expect(await untilGid(stimulus, NO_DATABASES, 5_000)).toEqual({ gid: 'the-order', isRefusal: true });
  });

  it.each([
    ['an accepted purchase', () => Promise.resolve(asked({ orderId: 'the-order' }))],
    ['a failed call', () => Promise.reject(new Error('no answer'))],
  ])('returns null for %s without a row at the limit', async (_, answer) => {
    expect(await untilGid({ findGid: async () => null, answered: answer() }, NO_DATABASES, 50)).toBeNull();
  });
});
