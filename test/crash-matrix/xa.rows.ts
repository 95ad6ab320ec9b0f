import { expect } from 'vitest';
import { Operator } from '../fixtures/operator.js';
import type { Stack } from '../fixtures/stack.js';
import { until } from '../fixtures/until.js';
import { sql } from '../fixtures/world.js';
import {
  begin,
  decisions,
  expectNothingLeft,
  FORMAT_ID,
  finish,
  openAlerts,
  orphan,
  prepare,
  preparedOf,
  witnesses,
} from '../xa/shop.js';
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

/**
 * The log has lost a decision whose payment was committed: the money's branch is over, the stock's is prepared. Nothing is
 * rolled back, however often whoever finds it dies.
 */
async function lostDecision({ world }: Stack): Promise<string> {
  const { id, gtrid } = await begin(world, { ageMs: 0, timeoutMs: 3_000 });
  await prepare(world, 'payment', { gtrid, formatId: FORMAT_ID });
  await finish(world, 'payment', { gtrid, formatId: FORMAT_ID, how: 'COMMIT' });
  await prepare(world, 'inventory', { gtrid, formatId: FORMAT_ID });
  return id;
}

const faults = async ({ world }: Stack) =>
  (await decisions(world)).filter(({ id, state }) => id === 'log.tail' && state === 'PARKED');

/** A person ends what is left by hand and says so; what the test has committed goes with it. */
async function settledByHand(shop: Stack): Promise<void> {
  const left = await preparedOf(shop.world);
  for (const { app, gtrid } of left) {
    await finish(shop.world, app, { gtrid, formatId: FORMAT_ID, how: 'ROLLBACK' });
    await sql(shop.world, 'payment', 'DELETE FROM dtx_xa_witness WHERE gtrid = ?', [gtrid]);
  }
  const { status } = await new Operator(shop, 'order').resolve('log.tail', 'done');
  expect(status).toBe(200);
}

export const recoveryRows: Row[] = [
  {
    failpoint: 'xa.doubted',
    app: 'order',
    modes: few('crash', 'pause, recover, continue', 'error'),
    receives: true,
    options: { core: { scanIntervalMs: 10 } },
    trigger: lostDecision,
    passed: async (shop) => (await faults(shop)).length > 0,
    beforeNext: settledByHand,
    recovered: (at) => until('it is known', async () => (await faults(at.shop)).length === 1),
    disk: async (at) => {
      // In the mode `error` another instance may have to write it down.
      await until('it is parked', async () => (await faults(at.shop)).length === 1);
      expect(await preparedNow(at)).toEqual(['inventory']);
    },
    healed: async (at) => {
      if (at.attempt !== at.met) return;
      const [fault] = await until('it is parked', async () => {
        const found = await faults(at.shop);
        return found.length === 1 && found;
      });
      expect(fault!.last_error).toContain(at.attempt.orderId);
      expect((await openAlerts(at.shop.world)).map(({ subject }) => subject)).toEqual(['log.tail']);
      expect(await preparedNow(at)).toEqual(['inventory']);
      expect((await decisions(at.shop.world)).map(({ id }) => id)).not.toContain(at.attempt.orderId);
      await settledByHand(at.shop);
    },
  },
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
