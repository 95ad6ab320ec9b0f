import { expect } from 'vitest';
import { type AppName, sql } from '../fixtures/sandbox.js';
import { type Case, few, type Mode, notYet, type Row } from './matrix-types.js';
import { barrier, endsAs, transaction } from './tcc.scheme.js';

const APPS: readonly AppName[] = ['order', 'payment', 'inventory'];
const QUICK = few('crash', 'pause, recover, continue', 'error', 'lost');
const DEAD_OR_LATE = few('crash', 'pause, recover, continue');

const CANCELLED = endsAs(() => 'CANCELLED');
const stateOf = async ({ shop, attempt }: Case) => (await transaction(shop, attempt.orderId))?.state;

/** The calls that the three barriers have let through, in the order of APPS. */
async function passed({ shop, attempt }: Case): Promise<string[]> {
  const rows = await Promise.all(APPS.map((app) => barrier(shop.sandbox, app, attempt.orderId)));
  return rows.map((ops) => ops.map(({ op }) => op).join(' '));
}

const OUT_OF_STOCK = { buyerId: 'alice', sku: 'phone', quantity: 1 };

export const initiatorRows: Row[] = [
  {
    failpoint: 'tcc.registered',
    app: 'payment',
    modes: QUICK,
    // An error before the commit leaves the key free, so the repeated call is a new purchase.
    proof: endsAs((mode) => (mode === 'error' ? 'CONFIRMED' : 'CANCELLED')),
    disk: async (at) => {
      expect(await stateOf(at)).toBe('TRYING');
      const branches = await sql(at.shop.sandbox, 'payment', 'SELECT branch FROM dtx_tcc_branch WHERE gid = ?', [
        at.attempt.orderId,
      ]);
      expect(branches).toHaveLength(3);
      // The Try of the initiator's own participant joins the registering commit.
      expect(await passed(at)).toEqual(['', 'try', '']);
    },
  },
  {
    failpoint: 'tcc.tried',
    app: 'payment',
    modes: few('crash'),
    proof: CANCELLED,
    disk: async (at) => {
      expect(await stateOf(at)).toBe('TRYING');
      expect(await passed(at)).toEqual(['try', 'try', 'try']);
    },
  },
  {
    failpoint: 'tcc.deciding',
    app: 'payment',
    // An error before or after the step rolls Confirm back. The decision is then made without it.
    modes: few('crash', 'error'),
    proof: endsAs((mode) => (mode === 'error' || mode === 'lost' ? 'CONFIRMED' : 'CANCELLED')),
    disk: async (at) => {
      expect(await stateOf(at)).toBe('TRYING');
      expect(await passed(at)).toEqual(['try', 'try', 'try']);
    },
  },
  {
    failpoint: 'tcc.decided',
    app: 'payment',
    modes: QUICK,
    disk: async (at) => {
      expect(await stateOf(at)).toBe('CONFIRMING');
      // Confirm of the initiator's own participant joins the deciding commit.
      expect(await passed(at)).toEqual(['try', 'try confirm', 'try']);
    },
  },
  {
    failpoint: 'tcc.decided',
    when: 'by the deadline',
    app: 'payment',
    alsoArmed: 'tcc.registered=lost',
    // No Try is made before the deadline, so it may be short.
    options: { tcc: { timeoutMs: 2_000 } },
    modes: QUICK,
    proof: CANCELLED,
    disk: async (at) => {
      expect(await transaction(at.shop, at.attempt.orderId)).toMatchObject({ state: 'CANCELLING', reason: 'TIMEOUT' });
      expect(await passed(at)).toEqual(['', 'try', '']);
    },
  },
  {
    failpoint: 'tcc.first-branch',
    app: 'payment',
    modes: DEAD_OR_LATE,
    disk: async (at) => {
      expect(await stateOf(at)).toBe('CONFIRMING');
      expect(await passed(at)).toContain('try confirm');
    },
  },
  {
    failpoint: 'tcc.first-branch',
    when: 'cancelling',
    app: 'payment',
    wanted: OUT_OF_STOCK,
    modes: DEAD_OR_LATE,
    proof: CANCELLED,
    disk: async (at) => {
      expect(await stateOf(at)).toBe('CANCELLING');
      expect((await passed(at)).filter((ops) => ops.endsWith('cancel')).length).toBeGreaterThan(0);
    },
  },
  {
    failpoint: 'tcc.all-branches',
    app: 'payment',
    modes: DEAD_OR_LATE,
    disk: async (at) => {
      expect(await stateOf(at)).toBe('CONFIRMING');
      expect(await passed(at)).toEqual(['try confirm', 'try confirm', 'try confirm']);
    },
  },
  {
    failpoint: 'tcc.marked',
    app: 'payment',
    modes: few('crash'),
    disk: async (at) => expect(await stateOf(at)).toBe('CONFIRMED'),
  },
];

/**
 * The calls of the initiator's own participant usually join commits of the initiator. They have transactions of their own
 * after a Try that took long, and after a Confirm that failed.
 */
const APART: Partial<Record<AppName, { try: string; second: string }>> = {
  payment: { try: 'tcc.try-inserted=1*delay(1300)', second: 'tcc.deciding=1*error' },
};

/** A participant's two transactions: the first before and after its commit, the second after it. */
function participant(app: AppName, modes: readonly Mode[]): Row[] {
  const apart = APART[app];
  const barrierOf = async ({ shop, attempt }: Case) =>
    (await barrier(shop.sandbox, app, attempt.orderId)).map(({ op }) => op);
  return [
    {
      failpoint: 'tcc.try-inserted',
      when: apart && 'within the registration',
      app,
      modes,
      recovered: notYet,
      // The instance that gets the call again may be in time or too late. At the initiator nothing is registered yet.
      proof: endsAs((mode) => (mode === 'error' || mode === 'lost' ? 'CANCELLED' : apart ? 'CONFIRMED' : 'either')),
      disk: async (at) => expect(await barrierOf(at)).toEqual([]),
    },
    {
      failpoint: 'tcc.try-committed',
      when: apart && 'after a slow registration',
      app,
      alsoArmed: apart?.try,
      modes,
      // The call of a dead or paused victim is redelivered to the warm instance, which may be in time or too late.
      proof: endsAs((mode) => (app !== 'payment' && /crash|pause/.test(mode) ? 'either' : 'CANCELLED')),
      disk: async (at) => expect(await barrierOf(at)).toEqual(['try']),
    },
    {
      failpoint: 'tcc.second-committed',
      when: apart && 'after a Confirm that failed',
      app,
      alsoArmed: apart?.second,
      modes,
      disk: async (at) => expect(await barrierOf(at)).toEqual(['try', 'confirm']),
    },
  ];
}

/** The Cancel of a branch with a Try, and of one without. */
function cancelling(app: AppName): Row {
  return {
    failpoint: 'tcc.second-committed',
    when: 'cancelling',
    app,
    wanted: OUT_OF_STOCK,
    modes: DEAD_OR_LATE,
    proof: CANCELLED,
    disk: async ({ shop, attempt }) =>
      expect((await barrier(shop.sandbox, app, attempt.orderId)).at(-1)).toMatchObject({ op: 'cancel' }),
  };
}

export const participantRows: Row[] = [
  ...participant('inventory', QUICK),
  ...participant('order', DEAD_OR_LATE),
  ...participant('payment', DEAD_OR_LATE),
  cancelling('inventory'),
  cancelling('order'),
];
