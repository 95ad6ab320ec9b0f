import { describe, expect, it } from 'vitest';
import { DtxError } from '../errors/errors.js';
import type { Database } from './database.service.js';
import { IdempotencyKeys } from './idempotency-keys.js';

/** A route or key as the code of a caller without type checks gives it, such as a missing header. */
type Given = { route?: unknown; key?: unknown; caller?: unknown };

/** Route and key are checked before the database is used, so these keys have none. */
const keys = new IdempotencyKeys({} as Database);
const VALID = { route: 'POST /orders', key: 'key-1' };

const calls: Array<[string, (given: Given) => Promise<unknown>]> = [
  ['claim', (given) => keys.claim({} as never, { ...VALID, body: {}, gid: 'g', ...given } as never)],
  ['find', (given) => keys.find({ ...VALID, body: {}, ...given } as never)],
  ['settle', (given) => keys.settle({} as never, { ...VALID, outcome: {}, ...given } as never)],
];

describe.each(calls)('IdempotencyKeys.%s', (_, call) => {
  const refusalOf = (given: Given) =>
    call(given).then(
      () => 'no error',
      (error) => (error instanceof DtxError ? error.message : `not a DtxError: ${error}`),
    );

  const KEY = 'invalid Idempotency-Key: expected';
  it.each<[string, unknown, string]>([
    ['a missing key', undefined, `${KEY} a text of 1 to 255 bytes, got undefined; send the header Idempotency-Key`],
    ['a null key', null, `${KEY} a text of 1 to 255 bytes, got null; send the header Idempotency-Key`],
    ['a number', 4711, `${KEY} a text of 1 to 255 bytes, got 4711; pass the header as a string`],
    ['a bigint', 4711n, `${KEY} a text of 1 to 255 bytes, got 4711n; pass the header as a string`],
    ['a list', ['a', 'b'], `${KEY} a text of 1 to 255 bytes, got [ 'a', 'b' ]; pass the header as a string`],
    ['an empty key', '', `${KEY} 1 to 255 bytes, got 0`],
    ['a key that is too long', 'x'.repeat(256), `${KEY} 1 to 255 bytes, got 256`],
  ])('refuses %s', async (_what, key, text) => {
    expect(await refusalOf({ key })).toBe(text);
  });

  it.each([undefined, null, '', 7])(
    'refuses the caller %j, since all of these callers would share keys',
    async (caller) => {
      expect(await refusalOf({ caller })).toMatch(
        /^invalid caller of an Idempotency-Key: .*leave it out for a key that all/,
      );
    },
  );

  const ROUTE = 'invalid Idempotency-Key route: expected 1 to 64 ASCII characters without spaces around them, got';
  it.each<[string, unknown, string]>([
    ['a missing route', undefined, `${ROUTE} undefined`],
    ['a number as the route', 4711, `${ROUTE} 4711`],
    ['a bigint as the route', 4711n, `${ROUTE} 4711n`],
    ['a list as the route', ['POST /orders'], `${ROUTE} [ 'POST /orders' ]`],
    ['an empty route', '', `${ROUTE} ""`],
    ['a route with a line break', 'POST\n/orders', `${ROUTE} "POST\\n/orders"`],
    ['a route with a long text', 'x'.repeat(200), `${ROUTE} "${'x'.repeat(79)}`],
  ])('refuses %s', async (_what, route, text) => {
    expect(await refusalOf({ route })).toBe(text);
  });
});
