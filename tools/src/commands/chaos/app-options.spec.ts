import { expect, test } from 'vitest';
import { chaosOptions } from './app-options.js';

const inboxOf = (given: string | undefined) => JSON.parse(chaosOptions(given)!).core.inbox;

test('a handler gives up within a run, unless the caller says otherwise', () => {
  expect(inboxOf(undefined)).toMatchObject({ attemptsMax: 8, backoff: { firstMs: 100 } });
  expect(inboxOf('{"core":{"inbox":{"attemptsMax":9}}}')).toMatchObject({ attemptsMax: 9, backoff: { firstMs: 100 } });
});

test('a notification that has failed often is sent again within 30 s', () => {
  const { ladderMs } = JSON.parse(chaosOptions(undefined)!).notify;
  expect(Math.max(...ladderMs)).toBeLessThanOrEqual(30_000);
  expect(JSON.parse(chaosOptions('{"notify":{"ladderMs":[7]}}')!).notify.ladderMs).toEqual([7]);
});

test('other options are kept, and a text that is not JSON is left to the app', () => {
  expect(JSON.parse(chaosOptions('{"xa":{"deployment":"a"},"core":{"prefetch":4}}')!)).toMatchObject({
    xa: { deployment: 'a' },
    core: { prefetch: 4 },
  });
  expect(chaosOptions('{oops')).toBe('{oops');
});
