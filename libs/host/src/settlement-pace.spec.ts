import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SettlementPace } from './settlement-pace.js';

const USUAL_MS = 20;
const LATE_MS = 200;
let pace: SettlementPace;

beforeEach(() => {
  vi.useFakeTimers();
  pace = new SettlementPace();
});
afterEach(() => void vi.useRealTimers());

const settles = (ageMs: number, times = 1) => {
  for (let n = 0; n < times; n++) pace.settled(ageMs);
};

/** Purchases settle late, and so many of them that they queue. */
function settlesLate(ageMs = LATE_MS): void {
  settles(USUAL_MS);
  for (let ms = 0; ms < 500; ms++) {
    vi.advanceTimersByTime(1);
    settles(ageMs);
  }
}

/** Calls that ask for their turn. The returned function counts those that may begin. */
function calls(count: number): () => Promise<number> {
  let begun = 0;
  for (let n = 0; n < count; n++) void pace.turn().then(() => begun++);
  return async () => {
    await vi.advanceTimersByTimeAsync(0);
    return begun;
  };
}

describe('a call begins at once', () => {
  it('if no purchase has settled yet', async () => {
    expect(await calls(3)()).toBe(3);
  });

  it('if purchases settle as soon as usual, also if that is not soon', async () => {
    for (let ms = 0; ms < 500; ms++) {
      vi.advanceTimersByTime(1);
      settles(LATE_MS + (ms % 10));
    }
    expect(await calls(3)()).toBe(3);
  });

  it('if so few purchases are open that they do not queue', async () => {
    settles(USUAL_MS);
    for (let n = 0; n < 10; n++) {
      vi.advanceTimersByTime(50);
      settles(LATE_MS);
    }
    expect(await calls(3)()).toBe(3);
  });

  it('if nothing settles any more', async () => {
    settlesLate();
    vi.advanceTimersByTime(501);
    expect(await calls(3)()).toBe(3);
  });

  it('if the age of a purchase is not known', async () => {
    pace.settled(undefined);
    expect(await calls(3)()).toBe(3);
  });
});

describe('a call waits while purchases settle late', () => {
  it('and begins when purchases settle, one call for two of them', async () => {
    settlesLate();
    const begun = calls(5);
    expect(await begun()).toBe(0);
    settles(LATE_MS, 3);
    expect(await begun()).toBe(1);
    settles(LATE_MS, 1);
    expect(await begun()).toBe(2);
  });

  it('and begins sooner when purchases settle in time again', async () => {
    settlesLate();
    const begun = calls(5);
    settles(USUAL_MS, 2);
    expect(await begun()).toBe(4);
  });

  it('but no longer than purchases are late', async () => {
    settlesLate();
    const begun = calls(5);
    vi.advanceTimersByTime(LATE_MS - USUAL_MS - 1);
    expect(await begun()).toBe(0);
    vi.advanceTimersByTime(1);
    expect(await begun()).toBe(5);
  });

  it('and no longer than half a second', async () => {
    settlesLate(60_000);
    const begun = calls(5);
    vi.advanceTimersByTime(499);
    expect(await begun()).toBe(0);
    vi.advanceTimersByTime(1);
    expect(await begun()).toBe(5);
  });
});
