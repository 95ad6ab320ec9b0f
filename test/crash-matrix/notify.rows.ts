import { expect } from 'vitest';
import type { Target } from '../fixtures/notification-target.js';
import { notificationsOf } from '../fixtures/notifying-shop.js';
import { sql } from '../fixtures/sandbox.js';
import { type Case, few, type Row } from './matrix-types.js';

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
      modes: few('crash'),
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
