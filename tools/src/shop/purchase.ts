// One purchase as a client makes it: ask with an Idempotency-Key, repeat with the same key until there is an answer, then
// wait until the order is final.
import { randomUUID } from 'node:crypto';
import { until } from '../cli/waits-and-progress.js';
import type { App } from '../servers/server-set.js';
import { type Answer, call, untilAnswered } from './app-calls.js';

/** The addresses of the apps. A caller may change them while a purchase is under way: another instance takes over. */
export type Urls = Record<App, string>;

/** How a purchase by each scheme is started. */
export const SCHEMES = {
  'local-message': { app: 'order', path: '/orders' },
  xa: { app: 'order', path: '/orders/xa' },
  tcc: { app: 'payment', path: '/checkouts' },
  saga: { app: 'order', path: '/orders/saga' },
  'half-message': { app: 'inventory', path: '/flash-sales' },
} as const satisfies Record<string, { app: App; path: string }>;
export type PurchaseScheme = keyof typeof SCHEMES;

export interface Wanted {
  readonly buyerId: string;
  readonly sku: string;
  readonly quantity: number;
}

/** How a purchase ended. */
export interface Outcome {
  readonly status: string;
  readonly reason?: string | null;
}

interface PurchaseBody {
  readonly orderId?: string;
  readonly orderStatus?: string;
  readonly reason?: string;
}

export interface AskedPurchase {
  readonly orderId: string;
  readonly key: string;
  readonly answered: PurchaseBody;
}

export interface AskOptions {
  readonly key?: string;
  readonly boundMs?: number;
  readonly timeoutMs?: number;
  readonly onFailure?: (why: string) => void;
}

const WAIT_MS = 5_000;

/** A conflict without an order: the first call with this key still runs, so ask again. */
const isFinal = ({ status, body }: Answer<PurchaseBody | null>) => status !== 409 || body?.orderId !== undefined;

export async function askForPurchase(
  urls: Urls,
  scheme: PurchaseScheme,
  wanted: Wanted,
  { key = randomUUID(), boundMs = 60_000, timeoutMs, onFailure }: AskOptions = {},
): Promise<AskedPurchase> {
  const { app, path } = SCHEMES[scheme];
  const options = { body: wanted, headers: { 'idempotency-key': key }, boundMs, timeoutMs, onFailure, isFinal };
  const answer = await untilAnswered<PurchaseBody | null>('POST', () => `${urls[app]}${path}`, options);
  const orderId = answer?.body?.orderId;
  if (!orderId) throw new Error(`${path} of the ${app} app gave no order: ${JSON.stringify(answer ?? 'no answer')}`);
  return { orderId, key, answered: answer.body ?? {} };
}

/** Waits until the order is CONFIRMED or CANCELLED. Null if it is still PENDING at the limit. */
export function untilFinal(urls: Urls, orderId: string, { boundMs = 60_000 } = {}): Promise<Outcome | null> {
  return until(
    async () => {
      const url = `${urls.order}/orders/${orderId}?waitMs=${WAIT_MS}`;
      const answer = await call<Outcome>('GET', url, { timeoutMs: WAIT_MS + 5_000 }).catch(() => null);
      return answer?.status === 200 && answer.body.status !== 'PENDING' ? answer.body : null;
    },
    { boundMs, everyMs: 100 },
  );
}

/** The refusal in an answer, or null. A refused purchase may have left no row, so there is no final state to wait for. */
export const refusalIn = ({ orderStatus, reason }: PurchaseBody): Outcome | null =>
  orderStatus === 'CANCELLED' ? { status: orderStatus, reason } : null;

export interface MadePurchase extends Wanted {
  readonly orderId: string;
  readonly scheme: PurchaseScheme;
  readonly status: string;
  readonly reason: string;
  readonly ms: number;
}

/** Makes a purchase from start to end. */
export async function buy(
  urls: Urls,
  scheme: PurchaseScheme,
  wanted: Wanted,
  options: AskOptions = {},
): Promise<MadePurchase> {
  const since = performance.now();
  const { orderId, answered } = await askForPurchase(urls, scheme, wanted, options);
  const final = refusalIn(answered) ?? (await untilFinal(urls, orderId));
  const ms = Math.round(performance.now() - since);
  return { orderId, scheme, ...wanted, status: final?.status ?? 'PENDING', reason: final?.reason ?? '', ms };
}
