import { expect } from 'vitest';
import type { Target } from '../fixtures/notification-target.js';
import { NOTIFY_SECRET, notificationsOf } from '../fixtures/notifying-shop.js';
import { sql } from '../fixtures/sandbox.js';
import { until } from '../fixtures/until.js';
import { localMessage } from './local-message.scheme.js';
import { type Case, few, type Row, type Scheme } from './matrix-types.js';
import { tcc } from './tcc.scheme.js';

/** A purchase of the scheme whose target also hears of the payment: at least once, always under the same id. */
export function withNotification(scheme: Scheme, target: Target): Scheme {
  const env = { DTX_NOTIFY_SECRET: NOTIFY_SECRET, DTX_NOTIFY_URL: target.url('/told'), DTX_NOTIFY_ALLOW: target.host };
  const delivered = async ({ shop, attempt: { orderId } }: Case) => {
    const rows = await until(`the notification of ${orderId} is delivered`, async () => {
      const found = await notificationsOf(shop.sandbox, orderId);
      return found.length > 0 && found.every(({ state }) => state === 'DELIVERED') && found;
    });
    expect(rows.map(({ id }) => id)).toEqual([`${orderId}.CAPTURED`]);
    const calls = target.of(`${orderId}.CAPTURED`);
    expect(calls.length).toBeGreaterThanOrEqual(1);
    expect(new Set(calls.map(({ body }) => body.toString())).size).toBe(1);
  };
  return {
    ...scheme,
    env,
    async healed(at) {
      await scheme.healed(at);
      await delivered(at);
    },
    async exactlyOnce(at) {
      await scheme.exactlyOnce?.(at);
      await delivered(at);
    },
  };
}

export const ofOrders = (target: Target) => withNotification(localMessage, target);
export const ofCheckouts = (target: Target) => withNotification(tcc, target);

const paymentOf = ({ shop, attempt }: Case) =>
  sql(shop.sandbox, 'payment', 'SELECT status FROM payment WHERE order_id = ?', [attempt.orderId]);
const statesOf = async ({ shop, attempt }: Case) =>
  (await notificationsOf(shop.sandbox, attempt.orderId)).map(({ state }) => state);
const deliveryOf = ({ shop, attempt }: Case) =>
  sql(shop.sandbox, 'payment', `SELECT state FROM dtx_inbox WHERE gid = ? AND consumer = 'payment.take-money'`, [
    attempt.orderId,
  ]);
const CAPTURED = [{ status: 'CAPTURED' }];

/** A notification between the commit of a consumer of messages and the ack. */
export const orderRows = (target: Target): Row[] => {
  const calls = ({ attempt }: Case) => target.of(`${attempt.orderId}.CAPTURED`).length;
  return [
    {
      failpoint: 'notify.committed',
      app: 'payment',
      modes: few('crash', 'pause, recover, continue', 'error'),
      disk: async (at) => {
        expect(await statesOf(at)).toEqual([]);
        expect(await paymentOf(at)).toEqual(CAPTURED);
        expect(await deliveryOf(at)).toEqual([{ state: 'HANDLED' }]);
      },
    },
    {
      failpoint: 'notify.published',
      app: 'payment',
      modes: few('crash', 'lost'),
      disk: async (at) => {
        expect(await paymentOf(at)).toEqual(CAPTURED);
        const sent = `SELECT state FROM dtx_outbox WHERE gid = ? AND contract = 'stock.taken' AND state <> 'DONE'`;
        expect(await sql(at.shop.sandbox, 'inventory', sent, [at.attempt.orderId])).toHaveLength(1);
      },
    },
    {
      failpoint: 'notify.recorded',
      app: 'payment',
      modes: few('crash', 'pause, recover, continue'),
      disk: async (at) => {
        expect(await statesOf(at)).toEqual(['PENDING']);
        expect(calls(at)).toBe(0);
      },
    },
    {
      failpoint: 'notify.claimed',
      app: 'payment',
      modes: few('crash'),
      // The first call is never made, so the victim's scan claims the row.
      alsoArmed: 'notify.called=1*error',
      disk: async (at) => {
        expect(await statesOf(at)).toEqual(['PENDING']);
        expect(calls(at)).toBe(0);
      },
    },
    {
      failpoint: 'notify.called',
      app: 'payment',
      modes: few('crash', 'pause, recover, continue', 'lost'),
      disk: async (at) => {
        expect(calls(at)).toBe(1);
        expect(await statesOf(at)).toEqual(['PENDING']);
      },
    },
    {
      failpoint: 'notify.delivered',
      app: 'payment',
      modes: few('crash'),
      disk: async (at) => {
        expect(calls(at)).toBe(1);
        expect(await statesOf(at)).toEqual(['DELIVERED']);
      },
    },
  ];
};

/** A notification between the commit of a Confirm and its answer. */
export const checkoutRows: Row[] = ['notify.committed', 'notify.published'].map((failpoint) => ({
  failpoint,
  app: 'payment',
  when: 'after a Confirm',
  modes: few('crash', 'error'),
  disk: async (at) => {
    expect(await paymentOf(at)).toEqual(CAPTURED);
    const query = 'SELECT state FROM dtx_tcc WHERE id = ?';
    expect(await sql(at.shop.sandbox, 'payment', query, [at.attempt.orderId])).toEqual([{ state: 'CONFIRMING' }]);
  },
}));
