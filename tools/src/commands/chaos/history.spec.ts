import { describe, expect, test } from 'vitest';
import { countOf, type Evidence, findingsOf, gapsOf, RESTOCK, type Seen, type Told } from './history.js';

const OPENED = 800n;
const bought = (orderId: string, status: string): Told => ({ route: 'POST /orders', orderId, status });
const whole = {
  told: new Map<string, Told>([
    ['k1', bought('o1', 'CONFIRMED')],
    ['k2', bought('o2', 'CANCELLED')],
    ['k3', bought('o3', 'PENDING')],
    ['k4', bought('refused', 'CANCELLED')],
    ['k5', { route: RESTOCK }],
  ]),
  unknown: new Set<string>(),
  wrong: [] as string[],
};
const orders = new Map([
  ['o1', 'CONFIRMED'],
  ['o2', 'CANCELLED'],
  ['o3', 'CONFIRMED'],
]);
const seenWith = (key: string, told: Told): Seen => ({ ...whole, told: new Map([...whole.told, [key, told]]) });
const invariantsOf = (seen: Seen, rows = orders, opening = OPENED + 1n) =>
  findingsOf(seen, { orders: rows, opening }, OPENED).map(({ invariant, orderId }) => [invariant, orderId]);

test('a history that holds has no finding', () => {
  expect(invariantsOf(whole)).toEqual([]);
  expect(countOf(whole, { orders, opening: OPENED })).toEqual({ CONFIRMED: 2, CANCELLED: 2 });
});

describe('a forged history is found', () => {
  const KEPT = 'an answer is kept';

  test.each([
    ['confirmed to the client, cancelled in the database', 'CONFIRMED', 'CANCELLED'],
    ['cancelled to the client, confirmed in the database', 'CANCELLED', 'CONFIRMED'],
    ['pending for ever', 'PENDING', 'PENDING'],
  ])('%s', (_, status, really) => {
    const rows = new Map([...orders, ['o9', really]]);
    expect(invariantsOf(seenWith('k9', bought('o9', status)), rows)).toEqual([[KEPT, 'o9']]);
  });

  test.each(['CONFIRMED', 'PENDING'])('a purchase that was %s to the client and has no row', (status) => {
    expect(invariantsOf(seenWith('k9', bought('o9', status)))).toEqual([[KEPT, 'o9']]);
  });

  test('two keys with one purchase', () => {
    expect(invariantsOf(seenWith('k9', bought('o1', 'CONFIRMED')))).toEqual([['one purchase per key', 'o1']]);
  });

  test('two purchases of one call', () => {
    const rows = new Map([...orders, ['o9', 'CONFIRMED']]);
    expect(invariantsOf(whole, rows)).toEqual([['no order from nowhere', 'o9']]);
    expect(invariantsOf({ ...whole, unknown: new Set(['k9']) }, rows)).toEqual([]);
  });

  test('a restock that happened twice, or not at all', () => {
    const found = [['a restock happens once', undefined]];
    expect(invariantsOf(whole, orders, OPENED + 2n)).toEqual(found);
    expect(invariantsOf(whole, orders, OPENED)).toEqual(found);
    expect(invariantsOf({ ...whole, unknown: new Set(['k9']) }, orders, OPENED + 2n)).toEqual([]);
  });

  test('an answer that contradicts an earlier one', () => {
    expect(invariantsOf({ ...whole, wrong: ['k1: first CONFIRMED, then CANCELLED'] })).toEqual([
      ['answers agree with each other', undefined],
    ]);
  });
});

describe('a run that has checked nothing fails', () => {
  const enough: Evidence = {
    purchases: 20,
    begun: { 'kill -9 an app': 1 },
    failed: { 'kill -9 an app': 3, 'freeze the database': 2 },
    duplicates: 1,
    byOperator: { retried: 0, rejected: 0 },
    isCanaryFound: true,
  };

  test('and one with enough evidence does not', () => expect(gapsOf(enough)).toEqual([]));

  test.each([
    [{ purchases: 19 }, 'only 19 purchases have an answer'],
    [{ begun: {}, failed: {} }, 'no fault began'],
    [{ failed: { 'freeze the database': 3 } }, '"freeze the database" failed to begin 3 times and never began'],
    [{ duplicates: 0 }, 'no message came twice'],
    [{ isCanaryFound: false }, 'the audit has not found the row that was falsified for it'],
  ])('%o', (missing, gap) => expect(gapsOf({ ...enough, ...missing })).toEqual([gap]));
});
