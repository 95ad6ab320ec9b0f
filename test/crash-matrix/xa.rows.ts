import { expect } from 'vitest';
import { until } from '../support/until.js';
import { decisions, expectNothingLeft, orphan, preparedOf, witnesses } from '../xa/shop.js';
import type { Case, Mode, Row } from './row.js';

const ALL: readonly Mode[] = ['crash', 'pause, recover, kill', 'pause, recover, continue', 'error', 'lost'];
/** All modes in the long run; else without those that show what another mode of the point, or another point, shows too. */
const few = (...modes: Mode[]) => (process.env.DTX_TEST_ALL ? ALL : modes);
const DEAD_OR_LATE = few('crash', 'pause, recover, continue');

const preparedNow = async ({ shop }: Case) => (await preparedOf(shop.world)).map(({ app }) => app);
/** The others have done all that there was to do, beside the one that is stopped. */
const recovered = ({ shop }: Case) => expectNothingLeft(shop.world, 20_000);
const decisionOf = async ({ shop, attempt }: Case) => (await decisions(shop.world, attempt.orderId))[0];
const leftWitnesses = async (at: Case) => witnesses(at.shop.world, (await decisionOf(at))!.gtrid);

export const managerRows: Row[] = [
  {
    failpoint: 'xa.worked',
    app: 'order',
    modes: few('crash', 'pause, recover, continue', 'error'),
    unknownYet: true,
    transactionOpen: true,
    disk: async (at) => {
      expect(await preparedNow(at)).toEqual([]);
      expect((await decisions(at.shop.world)).filter(({ state }) => state !== 'DONE')).toEqual([]);
    },
  },
  {
    failpoint: 'xa.prepared-first',
    app: 'order',
    modes: few('crash', 'pause, recover, kill', 'error', 'lost'),
    unknownYet: true,
    recovered,
    disk: async (at) => expect(await preparedNow(at)).toContain('payment'),
  },
  {
    failpoint: 'xa.prepared-all',
    app: 'order',
    modes: few('crash', 'pause, recover, kill', 'pause, recover, continue', 'error'),
    unknownYet: true,
    recovered,
    disk: async (at) => expect(await preparedNow(at)).toEqual(['payment', 'inventory']),
  },
  {
    failpoint: 'xa.decided',
    app: 'order',
    modes: ALL,
    recovered,
    disk: async (at) => {
      expect(await decisionOf(at)).toMatchObject({ decision: 'COMMIT', state: 'COMMITTING' });
      expect(await preparedNow(at)).toEqual(['payment', 'inventory']);
    },
  },
  {
    failpoint: 'xa.first-branch',
    app: 'order',
    modes: few('crash', 'pause, recover, kill', 'pause, recover, continue'),
    recovered,
    disk: async (at) => {
      expect(await decisionOf(at)).toMatchObject({ decision: 'COMMIT', state: 'COMMITTING' });
      expect(await leftWitnesses(at)).toContain('branch');
    },
  },
  {
    failpoint: 'xa.all-branches',
    app: 'order',
    modes: DEAD_OR_LATE,
    recovered,
    disk: async (at) => {
      expect(await decisionOf(at)).toMatchObject({ decision: 'COMMIT', state: 'COMMITTING' });
      expect(await leftWitnesses(at)).toEqual(['branch', 'branch']);
      expect(await preparedNow(at)).toEqual([]);
    },
  },
  {
    failpoint: 'xa.marked',
    app: 'order',
    modes: few('crash', 'pause, recover, continue', 'error'),
    disk: async (at) => expect(await decisionOf(at)).toMatchObject({ decision: 'COMMIT', state: 'DONE' }),
  },
];

/** Of the recovery itself: an orphan with one prepared branch, found by whoever looks first. */
const ofOrphan = {
  app: 'order',
  receives: true,
  // The victim looks more often than the others, so that it is the one that finds the orphan; and what it has decided is
  // its own for long enough to look at the disk, on a busy machine too.
  options: { core: { scanIntervalMs: 10, leaseMs: 6_000 } },
  recovered,
  trigger: async ({ world }) => (await orphan(world)).id,
  passed: async ({ world }, id) => (await decisions(world)).some((row) => row.id === id && row.state === 'DONE'),
  healed: async ({ shop: { world }, attempt }) => {
    const row = await until('the orphan is rolled back', async () =>
      (await decisions(world)).find(({ id, state }) => id === attempt.orderId && state === 'DONE'),
    );
    expect(row.decision).toBe('ROLLBACK');
    expect(await witnesses(world, row.gtrid)).toEqual(['recovery', 'recovery']);
    expect((await preparedOf(world)).filter(({ gtrid }) => gtrid === row.gtrid)).toEqual([]);
  },
} satisfies Partial<Row>;

const orphanOf = async ({ shop, attempt }: Case) =>
  (await decisions(shop.world)).find(({ id }) => id === attempt.orderId);

export const recoveryRows: Row[] = [
  {
    ...ofOrphan,
    failpoint: 'xa.presumed',
    modes: ALL,
    disk: async (at) => {
      expect(await orphanOf(at)).toMatchObject({ decision: 'ROLLBACK', state: 'ROLLING_BACK' });
      expect(await preparedNow(at)).toEqual(['payment']);
    },
  },
  {
    ...ofOrphan,
    failpoint: 'xa.claimed',
    modes: few('crash', 'pause, recover, continue', 'error'),
    disk: async (at) => {
      const row = await orphanOf(at);
      expect(row).toMatchObject({ decision: 'ROLLBACK', state: 'ROLLING_BACK' });
      expect(await witnesses(at.shop.world, row!.gtrid)).toEqual(['recovery', 'recovery']);
      expect(await preparedNow(at)).toEqual([]);
    },
  },
];
