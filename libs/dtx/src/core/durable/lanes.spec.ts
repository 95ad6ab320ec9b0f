import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DurableRow } from './durable-table.js';
import { HOLD_MS, Lanes } from './lanes.js';

type Row = DurableRow<{ target: string }>;
const row = (target: string, id = target) => ({ id, target }) as unknown as Row;
const lanesOf = (concurrencyMax: number, laneMax: number) => new Lanes<Row>('target', { concurrencyMax, laneMax });

/** Lets a lane answer once, as one that is known. */
const known = (lanes: Lanes<Row>, ...names: string[]) => {
  for (const name of names) lanes.enter(name)(false);
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('the room of a lane', () => {
  it('is one place for a new lane, until it has answered', () => {
    const lanes = lanesOf(16, 4);
    expect(lanes.room('a')).toBe(1);
    const leave = lanes.enter('a');
    expect(lanes.room('a')).toBe(0);
    leave(false);
    expect(lanes.room('a')).toBe(4);
  });

  it('is one place again for a lane whose last run had no answer', () => {
    const lanes = lanesOf(16, 4);
    known(lanes, 'a');
    lanes.enter('a')(true);
    expect(lanes.room('a')).toBe(1);
  });

  it('shrinks as the places of all lanes run out', () => {
    const lanes = lanesOf(8, 4);
    known(lanes, 'a', 'b', 'c');
    expect(lanes.room('a')).toBe(4);
    for (let n = 0; n < 4; n++) lanes.enter('b');
    expect(lanes.room('a')).toBe(4);
    lanes.enter('c');
    lanes.enter('c');
    expect(lanes.room('a')).toBe(2);
    lanes.enter('c');
    lanes.enter('c');
    expect(lanes.room('a')).toBe(0);
  });

  it('keeps half of all places from lanes without an answer, and a quarter from new ones as well', () => {
    const lanes = lanesOf(8, 4);
    const dead = ['d1', 'd2', 'd3', 'd4', 'd5'];
    for (const name of dead) lanes.enter(name)(true);
    for (const name of dead.slice(0, 4)) lanes.enter(name);
    expect(lanes.room('d5')).toBe(0);
    expect(lanes.room('new')).toBe(1);
    lanes.enter('n1');
    lanes.enter('n2');
    expect(lanes.room('new')).toBe(0);
    known(lanes, 'live');
    expect(lanes.room('live')).toBeGreaterThan(0);
  });
});

describe('the rows that a claim may take of a lane', () => {
  it('are more than its places if it has answered, and none while some wait', () => {
    const lanes = lanesOf(16, 4);
    expect(lanes.wanted('a')).toBe(1);
    known(lanes, 'a');
    expect(lanes.wanted('a')).toBe(8);
    lanes.add([row('a')]);
    expect(lanes.wanted('a')).toBe(0);
    expect(lanes.full()).toEqual(['a']);
  });

  it('become more each time that they were used up in time, and fewer when they were not', () => {
    const lanes = lanesOf(16, 4);
    known(lanes, 'a');
    lanes.add([row('a')]);
    lanes.next();
    expect(lanes.wanted('a')).toBe(4 + 8);
    lanes.add([row('a')]);
    vi.advanceTimersByTime(HOLD_MS + 1);
    expect(lanes.takeWaiting()).toHaveLength(1);
    expect(lanes.wanted('a')).toBe(4 + 2);
  });
});

describe('the next row', () => {
  it('is taken of each lane in turn', () => {
    const lanes = lanesOf(16, 4);
    known(lanes, 'a', 'b');
    lanes.add([row('a', 'a1'), row('a', 'a2'), row('b', 'b1')]);
    expect([1, 2, 3, 4].map(() => lanes.next()?.id)).toEqual(['a1', 'b1', 'a2', undefined]);
  });

  it('is not one of a lane without room', () => {
    const lanes = lanesOf(16, 4);
    lanes.add([row('a')]);
    lanes.enter('a');
    expect(lanes.next()).toBeUndefined();
  });

  it('is not one that has waited for longer than its lease allows', () => {
    const lanes = lanesOf(16, 4);
    lanes.add([row('a')]);
    vi.advanceTimersByTime(HOLD_MS + 1);
    expect(lanes.next()).toBeUndefined();
  });
});

describe('the rows that have waited', () => {
  it('are taken out after their time, and all of them when the loop stops', () => {
    const lanes = lanesOf(16, 4);
    lanes.add([row('a', 'old')]);
    vi.advanceTimersByTime(HOLD_MS + 1);
    lanes.add([row('a', 'young')]);
    expect(lanes.takeWaiting().map(({ id }) => id)).toEqual(['old']);
    expect(lanes.takeWaiting({ all: true }).map(({ id }) => id)).toEqual(['young']);
    expect(lanes.takeWaiting({ all: true })).toEqual([]);
  });
});
