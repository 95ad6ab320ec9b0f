import { expect, test } from 'vitest';
import { SharedTransactionSize } from './shared-transaction-size.js';

const MOST = 16;

/** Sizes after shared transactions of as many units as may share, which last `msOf`. */
function sizesBy(size: SharedTransactionSize, msOf: (units: number) => number, times = 6): number[] {
  return Array.from({ length: times }, () => {
    size.shared(size.units, msOf(size.units));
    return size.units;
  });
}

function sizeAfterAlone(ms: number): SharedTransactionSize {
  const size = new SharedTransactionSize(MOST);
  size.alone(ms);
  return size;
}

test('fast transactions grow to the largest number', () => {
  expect(sizesBy(new SharedTransactionSize(MOST), () => 20)).toEqual([4, 8, 16, 16, 16, 16]);
});

test('units that wait for something else share no longer', () => {
  expect(sizesBy(sizeAfterAlone(150), (units) => 150 * units, 1)).toEqual([1]);
});

test('on a slow server, where a unit by itself takes as long as several, they share on', () => {
  expect(sizesBy(sizeAfterAlone(600), (units) => 400 + 20 * units)).toEqual([4, 8, 16, 16, 16, 16]);
});

test('a server that becomes slow leads to units by themselves, which then share again', () => {
  const size = sizeAfterAlone(5);
  const slow = (units: number) => 400 + 20 * units;
  expect(sizesBy(size, () => 20, 3)).toEqual([4, 8, 16]);
  expect(sizesBy(size, slow, 4)).toEqual([8, 4, 2, 1]);
  for (let unit = 1; unit <= MOST; unit++) size.alone(slow(1));
  expect(sizesBy(size, slow, 4)).toEqual([4, 8, 16, 16]);
});

test('after a failure, as many units as may share must succeed by themselves in a row', () => {
  const size = new SharedTransactionSize(MOST);
  size.failed();
  for (let unit = 1; unit < MOST; unit++) size.alone(5);
  expect(size.units).toBe(1);
  size.failedAlone();
  for (let unit = 1; unit < MOST; unit++) size.alone(5);
  expect(size.units).toBe(1);
  size.alone(5);
  expect(size.units).toBe(2);
});

test('after a slow server, slow code does not share on', () => {
  const size = sizeAfterAlone(1_500);
  const slow = (units: number) => 100 * units;
  expect(sizesBy(size, slow, 4)).toEqual([4, 8, 16, 16]);
  const later = sizesBy(size, slow, 20);
  expect(later.at(-1)).toBe(1);
});

test.each([
  [5, 100],
  [200, 400],
  [30_000, 1_000],
])('behind a shared transaction, units of %i ms by themselves wait %i ms', (ms, patienceMs) => {
  expect(sizeAfterAlone(ms).patienceMs).toBe(patienceMs);
});
