import { expect } from 'vitest';
import type { Target } from '../fixtures/notification-target.js';
import { NOTIFY_SECRET, notificationsOf } from '../fixtures/notifying-shop.js';
import { until } from '../fixtures/until.js';
import { localMessage } from './local-message.scheme.js';
import type { Case, Scheme } from './matrix-types.js';
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
