// Goods that come in: inventory tells the catalog by a reliable message as any broker can do it.
import { randomUUID } from 'node:crypto';
import { until } from '../command/deadline.mjs';
import { call, untilAnswered } from './http.mjs';

const WANTED = { sku: 'book', quantity: 10 };

/** Restocks, repeating the call with its key until it is answered. `urls` may change meanwhile. */
export async function askForRestock(urls, { key = randomUUID(), boundMs = 60_000, timeoutMs, onFailure } = {}) {
  const options = { body: WANTED, headers: { 'idempotency-key': key }, boundMs, timeoutMs, onFailure };
  const isFinal = ({ status }) => status !== 409;
  const answer = await untilAnswered('POST', () => `${urls.inventory}/restocks`, { ...options, isFinal });
  if (answer?.status !== 201) throw new Error(`POST /restocks gave no stock: ${JSON.stringify(answer ?? 'no answer')}`);
  return answer.body;
}

/** Waits until the catalog shows what inventory last told; false at the bound. */
export function untilTold(urls, available, { boundMs = 30_000 } = {}) {
  return until(async () => (await hintIn(urls)) === available, { boundMs, everyMs: 100 });
}

async function hintIn(urls) {
  const answer = await call('GET', `${urls.order}/catalog`).catch(() => null);
  return answer?.status === 200 ? answer.body.find(({ sku }) => sku === WANTED.sku)?.stock?.available : null;
}

/** Shows it in the demo. @throws Error when the catalog does not hear of it */
export async function showRestock(urls, { say }) {
  const { available } = await askForRestock(urls);
  if (!(await untilTold(urls, available))) throw new Error('the catalog has not heard of the restock');
  say(`reliable-message: ${WANTED.quantity} x ${WANTED.sku} came in, and the catalog shows ${available}`);
}
