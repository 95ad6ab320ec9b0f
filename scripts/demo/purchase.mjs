// One purchase as a client makes it: ask with an Idempotency-Key, repeat with the same key until there is an answer,
// then wait until the order is final.
import { randomUUID } from 'node:crypto';
import { until } from '../command/deadline.mjs';
import { call, untilAnswered } from './http.mjs';

/** How each scheme is started: which app, which call. A scheme is added here when its endpoint exists. */
export const SCHEMES = {
  'local-message': { app: 'order', path: '/orders' },
  xa: { app: 'order', path: '/orders/xa' },
  tcc: { app: 'payment', path: '/checkouts' },
  'half-message': { app: 'inventory', path: '/flash-sales' },
};

const WAIT_MS = 5_000;

/** A conflict that names no order: the first call with this key is still running somewhere, so ask again. */
const isFinal = ({ status, body }) => status !== 409 || body?.orderId !== undefined;

/**
 * Asks for a purchase. `urls` may change while it runs (another instance takes over), so it is read at every try.
 * @returns {Promise<{ orderId: string, key: string, answered: object }>}
 */
export async function askForPurchase(
  urls,
  scheme,
  wanted,
  { key = randomUUID(), boundMs = 60_000, timeoutMs, onFailure } = {},
) {
  const { app, path } = SCHEMES[scheme];
  const options = { body: wanted, headers: { 'idempotency-key': key }, boundMs, timeoutMs, onFailure, isFinal };
  const answered = await untilAnswered('POST', () => `${urls[app]}${path}`, options);
  const orderId = answered?.body?.orderId;
  if (!orderId) throw new Error(`${path} of the ${app} app gave no order: ${JSON.stringify(answered ?? 'no answer')}`);
  return { orderId, key, answered: answered.body };
}

/** Waits until the order is CONFIRMED or CANCELLED. Null when it is still PENDING at the bound. */
export function untilFinal(urls, orderId, { boundMs = 60_000 } = {}) {
  return until(
    async () => {
      const url = `${urls.order}/orders/${orderId}?waitMs=${WAIT_MS}`;
      const answer = await call('GET', url, { timeoutMs: WAIT_MS + 5_000 }).catch(() => null);
      return answer?.status === 200 && answer.body.status !== 'PENDING' ? answer.body : null;
    },
    { boundMs, everyMs: 100 },
  );
}

/** What a call was refused for, or null. A refused purchase may be readable nowhere: there is nothing to wait for. */
export const refusalIn = ({ orderStatus, reason }) =>
  orderStatus === 'CANCELLED' ? { status: orderStatus, reason } : null;

/** Makes a purchase from start to end and says what came of it. */
export async function buy(urls, scheme, wanted, options = {}) {
  const since = performance.now();
  const { orderId, answered } = await askForPurchase(urls, scheme, wanted, options);
  const final = refusalIn(answered) ?? (await untilFinal(urls, orderId));
  const ms = Math.round(performance.now() - since);
  return { orderId, scheme, ...wanted, status: final?.status ?? 'PENDING', reason: final?.reason ?? '', ms };
}
