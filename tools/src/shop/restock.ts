// A restock: inventory tells the catalog of new goods by a confirmed publish.
import { randomUUID } from 'node:crypto';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { until } from '../cli/waits-and-progress.js';
import { type Answer, call, untilAnswered } from './app-calls.js';
import type { AskOptions, Urls } from './purchase.js';

const WANTED = { sku: 'book', quantity: 10 };

interface Restocked {
  readonly available: number;
}
interface CatalogItem {
  readonly sku: string;
  readonly stock?: { readonly available?: number } | null;
}

/** Restocks, repeating the call with its key until it is answered. */
export async function askForRestock(
  urls: Urls,
  { key = randomUUID(), boundMs = 60_000, timeoutMs, onFailure }: AskOptions = {},
): Promise<Restocked> {
  const isFinal = ({ status }: Answer<Restocked>) => status !== 409;
  const options = { body: WANTED, headers: { 'idempotency-key': key }, boundMs, timeoutMs, onFailure, isFinal };
  const answer = await untilAnswered<Restocked>('POST', () => `${urls.inventory}/restocks`, options);
  if (answer?.status !== 201) {
    const got = answer ? `answered ${JSON.stringify(answer)}` : `no answer within ${boundMs / 1_000} s`;
    throw new OperatorError(`POST ${urls.inventory}/restocks: ${got}; see the log of the inventory app`);
  }
  return answer.body;
}

/** Waits until the catalog shows this stock. False at the limit. */
export async function untilTold(urls: Urls, available: number, { boundMs = 30_000 } = {}): Promise<boolean> {
  return (await until(async () => (await hintIn(urls)) === available, { boundMs, everyMs: 100 })) ?? false;
}

async function hintIn(urls: Urls): Promise<number | undefined> {
  const answer = await call<CatalogItem[]>('GET', `${urls.order}/catalog`).catch(() => null);
  if (answer?.status !== 200) return undefined;
  return answer.body.find(({ sku }) => sku === WANTED.sku)?.stock?.available;
}

/** Shows a restock in the demo. @throws OperatorError if it does not reach the catalog */
export async function showRestock(urls: Urls, { say }: { say: Say }): Promise<void> {
  const { available } = await askForRestock(urls);
  if (!(await untilTold(urls, available)))
    throw new OperatorError('the restock did not reach the catalog; see the log of the order app');
  say(`reliable-message: ${WANTED.quantity} x ${WANTED.sku} came in, and the catalog shows ${available}`);
}
