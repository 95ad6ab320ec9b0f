import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { abortedWithin } from './time-limited-signal.js';

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');
const LIMIT_MS = 200;

async function afterCollections(signal: AbortSignal): Promise<boolean> {
  for (let n = 0; n < 5; n++) {
    await sleep(10);
    collect();
  }
  await sleep(2 * LIMIT_MS);
  return signal.aborted;
}

it('is aborted after its limit, also if memory was collected before', async () => {
  const signal = abortedWithin(new AbortController().signal, LIMIT_MS);
  expect(await afterCollections(signal)).toBe(true);
  expect(signal.reason).toMatchObject({ name: 'TimeoutError', message: `no end within ${LIMIT_MS} ms` });
});

it.each([Number.NaN, -1, Number.POSITIVE_INFINITY])('refuses the limit %d', (limitMs) => {
  expect(() => abortedWithin(new AbortController().signal, limitMs)).toThrow(RangeError);
});

it('is aborted with the given one', async () => {
  const given = new AbortController();
  const signal = abortedWithin(given.signal, 60_000);
  given.abort(new Error('stopped'));
  expect(signal.reason).toMatchObject({ message: 'stopped' });
});
