import { expect } from 'vitest';
import { Operator } from '../fixtures/operator.js';
import { sql } from '../fixtures/sandbox.js';
import type { Stack } from '../fixtures/three-apps.js';
import { until } from '../fixtures/until.js';
import { decisions, expectNothingLeft, openAlerts, preparedOf, witnesses } from '../xa/branches-and-decisions.js';
import { begin, FORMAT_ID, finish, orphan, prepare } from '../xa/branches-by-hand.js';
import { type Case, few, MODES, notYet, type Row } from './matrix-types.js';

const DEAD_OR_LATE = few('crash', 'pause, recover, continue');

const preparedNow = async ({ shop }: Case) => (await preparedOf(shop.sandbox)).map(({ app }) => app);
/** The warm instance ends every branch while the victim is stopped. */
const recovered = ({ shop }: Case) => expectNothingLeft(shop.sandbox, 20_000);
const decisionOf = async ({ shop, attempt }: Case) => (await decisions(shop.sandbox, attempt.orderId))[0];
const leftWitnesses = async (at: Case) => witnesses(at.shop.sandbox, (await decisionOf(at))!.gtrid);

export const managerRows: Row[] = [
  {
    failpoint: 'xa.worked',
    app: 'order',
    modes: few('crash'),
    recovered: notYet,
    disk: async (at) => {
      expect(await preparedNow(at)).toEqual([]);
      expect((await decisions(at.shop.sandbox)).filter(({ state }) => state !== 'DONE')).toEqual([]);
    },
  },
  {
    failpoint: 'xa.prepared-first',
    app: 'order',
    modes: few('crash', 'pause, recover, kill', 'error', 'lost'),
    recovered,
    // The work takes the stock first.
    disk: async (at) => expect(await preparedNow(at)).toContain('inventory'),
  },
  {
    failpoint: 'xa.prepared-all',
    app: 'order',
    modes: few('crash', 'pause, recover, kill'),
    recovered,
    disk: async (at) => expect(await preparedNow(at)).toEqual(['payment', 'inventory']),
  },
  {
    failpoint: 'xa.decided',
    app: 'order',
    modes: MODES,
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
    modes: few('crash'),
    disk: async (at) => expect(await decisionOf(at)).toMatchObject({ decision: 'COMMIT', state: 'DONE' }),
  },
];

/** The recovery itself: it finds an orphan with one prepared branch. */
const ofOrphan = {
  app: 'order',
  recovered,
  trigger: async ({ sandbox }) => (await orphan(sandbox)).id,
  proof: {
    async healed({ shop: { sandbox }, attempt }) {
      const row = await until('the orphan is rolled back', async () =>
        (await decisions(sandbox)).find(({ id, state }) => id === attempt.orderId && state === 'DONE'),
      );
      expect(row.decision).toBe('ROLLBACK');
      expect(await witnesses(sandbox, row.gtrid)).toEqual(['recovery', 'recovery']);
      expect((await preparedOf(sandbox)).filter(({ gtrid }) => gtrid === row.gtrid)).toEqual([]);
    },
  },
} satisfies Partial<Row>;

const orphanOf = async ({ shop, attempt }: Case) =>
  (await decisions(shop.sandbox)).find(({ id }) => id === attempt.orderId);

/**
 * The log has lost a decision whose payment was committed: the branch of the money is over, the branch of the stock is
 * prepared. No instance may roll it back, however often the one that finds it dies.
 */
async function lostDecision({ sandbox }: Stack): Promise<string> {
  const { id, gtrid } = await begin(sandbox, { ageMs: 0, timeoutMs: 3_000 });
  await prepare(sandbox, 'payment', { gtrid, formatId: FORMAT_ID });
  await finish(sandbox, 'payment', { gtrid, formatId: FORMAT_ID, how: 'COMMIT' });
  await prepare(sandbox, 'inventory', { gtrid, formatId: FORMAT_ID });
  return id;
}

const untilDoubted = ({ shop }: Case) =>
  until('the log is in doubt', async () => {
    const found = (await decisions(shop.sandbox)).filter(({ id, state }) => id === 'log.tail' && state === 'PARKED');
    return found.length === 1 && found[0];
  });

/** A person ends the branch by hand and resolves the fault. The witness that the test has committed is deleted with it. */
async function settledByHand(shop: Stack): Promise<void> {
  const left = await preparedOf(shop.sandbox);
  for (const { app, gtrid } of left) {
    await finish(shop.sandbox, app, { gtrid, formatId: FORMAT_ID, how: 'ROLLBACK' });
    await sql(shop.sandbox, 'payment', 'DELETE FROM dtx_xa_witness WHERE gtrid = ?', [gtrid]);
  }
  const { status } = await new Operator(shop, 'order').resolve('log.tail', 'done');
  expect(status).toBe(200);
}

export const recoveryRows: Row[] = [
  {
    failpoint: 'xa.doubted',
    app: 'order',
    modes: few('crash'),
    trigger: lostDecision,
    recovered: untilDoubted,
    disk: async (at) => {
      await untilDoubted(at);
      expect(await preparedNow(at)).toEqual(['inventory']);
    },
    proof: {
      async healed(at) {
        expect((await untilDoubted(at)).last_error).toContain(at.attempt.orderId);
        expect((await openAlerts(at.shop.sandbox)).map(({ subject }) => subject)).toEqual(['log.tail']);
        expect(await preparedNow(at)).toEqual(['inventory']);
        expect((await decisions(at.shop.sandbox)).map(({ id }) => id)).not.toContain(at.attempt.orderId);
        await settledByHand(at.shop);
      },
    },
  },
  {
    ...ofOrphan,
    failpoint: 'xa.presumed',
    modes: MODES,
    disk: async (at) => {
      expect(await orphanOf(at)).toMatchObject({ decision: 'ROLLBACK', state: 'ROLLING_BACK' });
      expect(await preparedNow(at)).toEqual(['payment']);
    },
  },
  {
    ...ofOrphan,
    failpoint: 'xa.claimed',
    modes: few('crash'),
    disk: async (at) => {
      const row = await orphanOf(at);
      expect(row).toMatchObject({ decision: 'ROLLBACK', state: 'ROLLING_BACK' });
      expect(await witnesses(at.shop.sandbox, row!.gtrid)).toEqual(['recovery', 'recovery']);
      expect(await preparedNow(at)).toEqual([]);
    },
  },
];
