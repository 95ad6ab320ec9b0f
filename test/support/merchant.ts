import type { AppOptions } from './app-process.js';
import { freePort } from './free-port.js';
import { Stack } from './stack.js';
import { sql, type World } from './world.js';

export const NOTIFY_SECRET = 'whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHM=';

/** Short waits. askAfterMs is so long that only tests of the inquiry ask. */
export const NOTIFY_TIMES = {
  ladderMs: [150, 150, 150],
  callTimeoutMs: 1_000,
  askAfterMs: 600_000,
  askIntervalMs: 200,
};

/** The three apps with payment results. The payment app notifies, the order app is the merchant and asks. */
export async function shopWithMerchant(
  world: World,
  {
    options = {},
    env = {},
    payment = {},
  }: Pick<AppOptions, 'options' | 'env'> & { payment?: Record<string, string> } = {},
): Promise<Stack> {
  const common = { DTX_NOTIFY_SECRET: NOTIFY_SECRET, ...env };
  const shop = new Stack(world, { options: { notify: NOTIFY_TIMES, ...options }, env: common });
  const port = await freePort();
  const [order] = await shop.start(['order'], { env: { ...common, DTX_PAYMENT_URL: `http://127.0.0.1:${port}` } });
  const merchant = new URL('/payment-results', order!.url);
  const target = { DTX_NOTIFY_URL: merchant.href, DTX_NOTIFY_ALLOW: '127.0.0.0/8' };
  await Promise.all([
    shop.start(['payment'], { env: { ...common, PORT: String(port), ...target, ...payment } }),
    shop.start(['inventory']),
  ]);
  return shop;
}

export interface NotificationRow {
  id: string;
  state: string;
  attempts: number;
  last_error: string | null;
  target: string;
}

export function notificationsOf(world: World, gid: string): Promise<NotificationRow[]> {
  const columns = 'id, state, attempts, last_error, target';
  return sql(world, 'payment', `SELECT ${columns} FROM dtx_notification WHERE gid = ? ORDER BY id`, [gid]);
}

/** The results of an order's payment at the merchant. */
export function resultsOf(world: World, orderId: string): Promise<Array<{ status: string; source: string }>> {
  return sql(world, 'order', 'SELECT status, source FROM payment_result WHERE order_id = ?', [orderId]);
}
