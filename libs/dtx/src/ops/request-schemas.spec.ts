import { describe, expect, it } from 'vitest';
import { durableTables } from '../testing/index.js';
import { alertsQuery, listQuery, retryBody } from './request-schemas.js';

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
