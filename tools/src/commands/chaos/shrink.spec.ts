import { describe, expect, test } from 'vitest';
import { shrink } from './shrink.js';

const steps = Array.from({ length: 40 }, (_, n) => n + 1);

/** Plays parts of which those break that have all of `needed`. */
async function shrunk(needed: readonly number[], { whole = steps, replaysMax = 1_000 } = {}) {
  const played: string[] = [];
  const isBroken = async (part: readonly number[]) => {
    played.push(part.join());
    return needed.every((one) => part.includes(one));
  };
  return { ...(await shrink(whole, { isBroken, replaysMax })), played };
}

describe('the smallest part that breaks is found', () => {
  test.each([
    ['one step', [17]],
    ['two steps that lie together', [20, 21]],
    ['two steps that lie far apart', [1, 40]],
    ['three steps', [3, 19, 38]],
    ['every second step', steps.filter((n) => n % 2 === 0)],
    ['all steps', steps],
  ])('%s', async (_, needed) => {
    const { smallest, isMinimal } = await shrunk(needed);
    expect(smallest).toEqual(needed);
    expect(isMinimal).toBe(true);
  });

  test('no step at all, in one replay', async () => {
    expect(await shrunk([])).toMatchObject({ smallest: [], replays: 1, isMinimal: true });
  });

  test('two of 40 steps in less than 40 replays, and no part is played twice', async () => {
    const { replays, played } = await shrunk([9, 30]);
    expect(replays).toBeLessThan(40);
    expect(new Set(played).size).toBe(played.length);
  });
});

test('it stops when the replays are used up, with the smallest part so far', async () => {
  const { smallest, replays, isMinimal } = await shrunk([1, 40], { replaysMax: 9 });
  expect(replays).toBe(9);
  expect(isMinimal).toBe(false);
  expect(smallest.length).toBeLessThan(40);
  expect(smallest).toEqual(expect.arrayContaining([1, 40]));
});

test('a failure that happens once only leaves the whole', async () => {
  const { smallest, isMinimal } = await shrink([1, 2, 3], { isBroken: async () => false, replaysMax: 100 });
  expect(smallest).toEqual([1, 2, 3]);
  expect(isMinimal).toBe(true);
});

test('one step is played without it', async () => {
  expect(await shrunk([7], { whole: [7] })).toMatchObject({ smallest: [7], replays: 1, isMinimal: true });
});
