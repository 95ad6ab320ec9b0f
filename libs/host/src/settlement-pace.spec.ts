import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SettlementPace } from './settlement-pace.js';

/** So many purchases may be open before a call waits. */
const OPEN = 40;
const USUAL_MS = 20;
const LATE_MS = 200;
let pace: SettlementPace;

beforeEach(() => {
  vi.useFakeTimers();
  pace = new SettlementPace();
});
afterEach(() => void vi.useRealTimers());

const settles = (ageMs: number | undefined, times = 1) => {
  for (let n = 0; n < times; n++) pace.settled(ageMs);
};

/** Calls that ask for their turn. The returned function counts those that may begin. */
function calls(count: number): () => Promise<number> {
  let begun = 0;
  for (let n = 0; n < count; n++) void pace.turn().then(() => begun++);
  return async () => {
    await vi.advanceTimersByTimeAsync(0);
    return begun;
  };
}

/** As many purchases are open as may be, and the last ones settled at this age. */
async function busy(ageMs: number): Promise<void> {
  settles(USUAL_MS);
  settles(ageMs, 100);
  await calls(OPEN)();
}

describe('a call begins at once', () => {
  it('if few purchases are open, also if they settle late', async () => {
    settles(USUAL_MS);
    settles(LATE_MS, 100);
    expect(await calls(OPEN)()).toBe(OPEN);
  });

  it('if purchases settle as soon as usual, also if that is not soon', async () => {
    settles(LATE_MS, 100);
    expect(await calls(2 * OPEN)()).toBe(2 * OPEN);
  });

  it('if one purchase settled late among many in time', async () => {
    await busy(USUAL_MS);
    settles(LATE_MS);
    expect(await calls(3)()).toBe(3);
  });

  it('if nothing settles any more', async () => {
    await busy(LATE_MS);
    vi.advanceTimersByTime(500);
    expect(await calls(3)()).toBe(3);
  });

  it('if nothing settles any more, and so do those that wait', async () => {
    await busy(LATE_MS);
    vi.advanceTimersByTime(400);
    const before = calls(2);
    expect(await before()).toBe(0);
    vi.advanceTimersByTime(100);
    expect(await calls(3)()).toBe(3);
    expect(await before()).toBe(2);
  });

  it('if the open purchases are so old that another instance must have settled them', async () => {
    await busy(LATE_MS);
    for (let ms = 0; ms < 1_001; ms += 91) {
      vi.advanceTimersByTime(91);
      pace.settled(LATE_MS, 0.01);
    }
    expect(await calls(3)()).toBe(3);
  });
});

describe('a call waits while many purchases are open', () => {
  it('also in the first moments of a load, before any has settled', async () => {
    expect(await calls(OPEN + 3)()).toBe(OPEN);
  });

  it('and begins when one of them settles', async () => {
    await busy(LATE_MS);
    const begun = calls(5);
    expect(await begun()).toBe(0);
    settles(LATE_MS);
    expect(await begun()).toBe(1);
    settles(undefined);
    expect(await begun()).toBe(2);
  });

  it('of which two settlements end one, if each is a half', async () => {
    await busy(LATE_MS);
    const begun = calls(5);
    pace.settled(LATE_MS, 1 / 2);
    expect(await begun()).toBe(0);
    pace.settled(LATE_MS, 1 / 2);
    expect(await begun()).toBe(1);
  });

  it('and two begin for one settlement when purchases settle in time again', async () => {
    await busy(LATE_MS);
    const begun = calls(150);
    settles(USUAL_MS, 60);
    const before = await begun();
    settles(USUAL_MS);
    expect((await begun()) - before).toBe(2);
  });

  it('but no longer than half a second', async () => {
    await busy(LATE_MS);
    const begun = calls(5);
    vi.advanceTimersByTime(499);
    expect(await begun()).toBe(0);
    vi.advanceTimersByTime(1);
    expect(await begun()).toBe(5);
  });
});
