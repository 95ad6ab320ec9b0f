import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HOLD_MS, KeyShares, SURPLUS_MAX } from './concurrency-key-shares.js';
import type { DurableRow } from './durable-table.js';

type Row = DurableRow<{ target: string }>;
const row = (target: string, id = target) => ({ id, target }) as unknown as Row;
const sharesOf = (concurrencyMax: number, perKeyMax: number) =>
  new KeyShares<Row>('target', { concurrencyMax, perKeyMax, surplusMax: SURPLUS_MAX });

/** Lets a key answer once, as one that is known. */
const known = (shares: KeyShares<Row>, ...names: string[]) => {
  for (const name of names) shares.enter(name)(false);
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('the room of a key', () => {
  it('is one place for a new key, until it has answered', () => {
    const shares = sharesOf(16, 4);
    expect(shares.room('a')).toBe(1);
    const leave = shares.enter('a');
    expect(shares.room('a')).toBe(0);
    leave(false);
    expect(shares.room('a')).toBe(4);
  });

  it('is one place again for a key whose last run had no answer', () => {
    const shares = sharesOf(16, 4);
    known(shares, 'a');
    shares.enter('a')(true);
    expect(shares.room('a')).toBe(1);
  });

  it('shrinks as the places of all keys run out', () => {
    const shares = sharesOf(8, 4);
    known(shares, 'a', 'b', 'c');
    expect(shares.room('a')).toBe(4);
    for (let n = 0; n < 4; n++) shares.enter('b');
    expect(shares.room('a')).toBe(4);
    shares.enter('c');
    shares.enter('c');
    expect(shares.room('a')).toBe(2);
    shares.enter('c');
    shares.enter('c');
    expect(shares.room('a')).toBe(0);
  });

  it('keeps half of all places from keys without an answer, and a quarter from new ones as well', () => {
    const shares = sharesOf(8, 4);
    const dead = ['d1', 'd2', 'd3', 'd4', 'd5'];
    for (const name of dead) shares.enter(name)(true);
    for (const name of dead.slice(0, 4)) shares.enter(name);
    expect(shares.room('d5')).toBe(0);
    expect(shares.room('new')).toBe(1);
    shares.enter('n1');
    shares.enter('n2');
    expect(shares.room('new')).toBe(0);
    known(shares, 'live');
    expect(shares.room('live')).toBeGreaterThan(0);
  });
});

describe('the rows that a claim may take of a key', () => {
  it('are more than its places if it has answered, and none while more than half of the others wait', () => {
    const shares = sharesOf(16, 4);
    expect(shares.wanted('a')).toBe(1);
    known(shares, 'a');
    expect(shares.wanted('a')).toBe(8);
    shares.add([row('a'), row('a')]);
    expect(shares.wanted('a')).toBe(6);
    shares.add([row('a')]);
    expect(shares.wanted('a')).toBe(0);
    expect(shares.full()).toEqual(['a']);
  });

  it('are those that replace the waiting ones while all places of the key are taken', () => {
    const shares = sharesOf(16, 4);
    known(shares, 'a');
    for (let n = 0; n < 4; n++) shares.enter('a');
    expect(shares.wanted('a')).toBe(0);
    shares.add([row('a')]);
    expect(shares.wanted('a')).toBe(3);
  });

  it('become more each time that they were used up in time, and fewer when they were not', () => {
    const shares = sharesOf(16, 4);
    known(shares, 'a');
    shares.add([row('a')]);
    shares.next();
    expect(shares.wanted('a')).toBe(4 + 8);
    shares.add([row('a')]);
    vi.advanceTimersByTime(HOLD_MS + 1);
    expect(shares.takeWaiting()).toHaveLength(1);
    expect(shares.wanted('a')).toBe(4 + 2);
  });
});

describe('the next row', () => {
  it('is taken of each key in turn', () => {
    const shares = sharesOf(16, 4);
    known(shares, 'a', 'b');
    shares.add([row('a', 'a1'), row('a', 'a2'), row('b', 'b1')]);
    expect([1, 2, 3, 4].map(() => shares.next()?.id)).toEqual(['a1', 'b1', 'a2', undefined]);
  });

  it('is not one of a key without room', () => {
    const shares = sharesOf(16, 4);
    shares.add([row('a')]);
    shares.enter('a');
    expect(shares.next()).toBeUndefined();
  });

  it('is not one that has waited for longer than its lease allows', () => {
    const shares = sharesOf(16, 4);
    shares.add([row('a')]);
    vi.advanceTimersByTime(HOLD_MS + 1);
    expect(shares.next()).toBeUndefined();
  });
});

describe('the rows that have waited', () => {
  it('are taken out after their time, and all of them when the loop stops', () => {
    const shares = sharesOf(16, 4);
    shares.add([row('a', 'old')]);
    vi.advanceTimersByTime(HOLD_MS + 1);
    shares.add([row('a', 'young')]);
    expect(shares.takeWaiting().map(({ id }) => id)).toEqual(['old']);
    expect(shares.takeWaiting({ all: true }).map(({ id }) => id)).toEqual(['young']);
    expect(shares.takeWaiting({ all: true })).toEqual([]);
  });
});
