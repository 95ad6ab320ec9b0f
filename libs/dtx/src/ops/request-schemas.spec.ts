import { describe, expect, it } from 'vitest';
import { durableTables } from '../testing/index.js';
import { alertsQuery, listQuery, operatorOf, retryBody } from './request-schemas.js';

const states = durableTables.flatMap(({ openStates, finalState }) => [
  ...openStates,
  ...[...finalState.matchAll(/'([A-Z_]+)'/g)].map(([, state]) => state!),
]);

describe('queries of /dtx', () => {
  it.each([...new Set([...states, 'ROLLED_BACK'])])('accept the state %s in a list and in a retry of all', (state) => {
    expect(listQuery.safeParse({ state }).success).toBe(true);
    expect(retryBody.safeParse({ scheme: 'xa', state }).success).toBe(true);
  });

  it.each(["PARKED' OR '1", 'A B', '', 'x'.repeat(33)])('refuse the state %j', (state) => {
    expect(listQuery.safeParse({ state }).success).toBe(false);
  });

  it('accept open alerts only as true or false', () => {
    expect(alertsQuery.parse({ open: 'true' })).toMatchObject({ open: true, limit: 20 });
    expect(alertsQuery.parse({ open: 'false' })).toMatchObject({ open: false });
    for (const open of ['1', '', 'yes']) expect(alertsQuery.safeParse({ open }).success).toBe(false);
  });
});

describe('the header DTX-Operator', () => {
  it('names the operator in ASCII, or in UTF-8 encoded as in RFC 8187', () => {
    expect(operatorOf(undefined)).toBeUndefined();
    expect(operatorOf('alice, 50 %')).toBe('alice, 50 %');
    expect(operatorOf("UTF-8''%E7%8E%8B%E5%B0%8F%E6%98%8E")).toBe('王小明');
    expect(operatorOf(`utf-8''${encodeURIComponent('王'.repeat(64))}`)).toBe('王'.repeat(64));
  });

  it.each([
    ['王', /printable ASCII characters; encode a name beyond them/],
    ["UTF-8''%E7%8E", /expected UTF-8'' and a name in percent-encoded UTF-8/],
    ["UTF-8''%zz", /expected UTF-8'' and a name in percent-encoded UTF-8/],
    ["UTF-8''", /1 to 64 characters/],
    ["UTF-8''a%0Ab", /1 to 64 characters, without control characters/],
    [`UTF-8''${encodeURIComponent('王'.repeat(65))}`, /1 to 64 characters/],
    ['x'.repeat(65), /1 to 64 characters/],
    ['x'.repeat(801), /printable ASCII/],
    ['', /printable ASCII/],
  ])('is refused as %j, with the reason', (given, why) => {
    expect(() => operatorOf(given)).toThrow(why);
  });
});
