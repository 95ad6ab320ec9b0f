import { describe, expect, it } from 'vitest';
import type { Databases } from '../../sandbox/database-reader.js';
import type { AskedPurchase } from '../../shop/purchase.js';
import { endedWell } from './arming-per-failpoint.js';
import { findFailpoint } from './known-failpoints.js';
import { untilGid } from './stimulus.js';

const NO_DATABASES = {} as Databases;
const asked = (answered: AskedPurchase['answered']): AskedPurchase => ({ orderId: 'the-order', key: 'key', answered });
const cancelled = (reason: string) => ({ status: 'CANCELLED', reason });

describe('endedWell', () => {
  const point = findFailpoint('half-message.committed');

  it.each(['OUT_OF_STOCK', 'INSUFFICIENT_FUNDS'])('accepts a refusal with %s', (reason) => {
    expect(endedWell(point, cancelled(reason))).toBe(true);
  });

  it.each(['UNKNOWN_BUYER', 'TIMEOUT'])('does not accept a refusal with %s', (reason) => {
    expect(endedWell(point, cancelled(reason))).toBe(false);
  });

  it('does not accept a purchase that is still PENDING', () => {
    expect(endedWell(point, null)).toBe(false);
  });

  it('accepts TIMEOUT only of TCC, whose transactions are cancelled at the deadline', () => {
    expect(endedWell(findFailpoint('tcc.decided'), cancelled('TIMEOUT'))).toBe(true);
  });

  it('accepts only a refusal at the point that a refused sale reaches', () => {
    const rolledBack = findFailpoint('half-message.rolled-back');
    expect(endedWell(rolledBack, { status: 'CONFIRMED' })).toBe(false);
    expect(endedWell(rolledBack, cancelled('OUT_OF_STOCK'))).toBe(true);
  });
});

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
