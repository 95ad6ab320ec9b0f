// An order that expires: the inventory app is down, so the order stays PENDING until its delayed message is due. The payment
// app then declines it, and the inventory app takes no stock for it when it is back.
import type { Say } from '../../cli/say-type.js';
import type { App } from '../../servers/server-set.js';
import { buy, type Urls } from '../../shop/purchase.js';
import type { ShownPurchase } from './purchases.js';

const FAILPOINT = 'local-message.inserted';
const WANTED = { buyerId: 'alice', sku: 'book', quantity: 1 };
const EXPIRY_MS = 2_000;
/** The inventory app is down for longer than the order waits. */
const DOWN_MS = 4 * EXPIRY_MS;

/** Apps that can be started again with other settings. */
export interface RestartableApps {
  readonly urls: Urls;
  restart(app: App, how?: { readonly env?: NodeJS.ProcessEnv; readonly holdMs?: number }): Promise<unknown>;
}

export async function expireAnOrder(
  apps: RestartableApps,
  { say, failpointLog }: { say: Say; failpointLog: string },
): Promise<ShownPurchase> {
  say(`an order expires after ${EXPIRY_MS / 1_000} s now, and the inventory app dies before it takes the stock`);
  await apps.restart('order', { env: { DTX_ORDER_EXPIRY_MS: String(EXPIRY_MS) } });
  const env = { DTX_FAILPOINTS: `${FAILPOINT}=1*crash`, DTX_FAILPOINT_LOG: failpointLog };
  await apps.restart('inventory', { env, holdMs: DOWN_MS });
  const made = await buy(apps.urls, 'local-message', WANTED);
  await apps.restart('order');
  const asExpected = made.status === 'CANCELLED' && made.reason === 'TIMEOUT';
  return { ...made, note: 'expired by a delayed message while the inventory app was down', asExpected };
}
