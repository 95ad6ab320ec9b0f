// One crash and recovery: the order app is killed right after the commit of the order and its message, before anything is
// published. The client repeats its call with the same Idempotency-Key and finds the existing order.
import type { Say } from '../../cli/say-type.js';
import type { AppEvent, Supervisor } from '../../process/supervisor.js';
import { buy } from '../../shop/purchase.js';
import type { ShownPurchase } from './purchases.js';

const FAILPOINT = 'local-message.committed';
const WANTED = { buyerId: 'alice', sku: 'book', quantity: 1 };

export async function crashAndRecover(
  supervisor: Supervisor,
  { say, failpointLog }: { say: Say; failpointLog: string },
): Promise<ShownPurchase> {
  say(`arming the order app: it dies at ${FAILPOINT}, right after its commit, before anything is published`);
  await supervisor.restart('order', {
    env: { DTX_FAILPOINTS: `${FAILPOINT}=1*crash`, DTX_FAILPOINT_LOG: failpointLog },
  });
  const deaths: string[] = [];
  const failures: string[] = [];
  const onEvent = (event: AppEvent) => {
    if (event.kind === 'died' && event.app === 'order') deaths.push(event.how ?? '');
  };
  supervisor.on('event', onEvent);
  const onFailure = (why: string) => failures.push(why);
  const made = await buy(supervisor.urls, 'local-message', WANTED, { onFailure, timeoutMs: 5_000 });
  supervisor.off('event', onEvent);
  const [how] = deaths;
  const note = how === undefined ? 'the order app did not crash' : `order app killed after its commit (${how}), healed`;
  if (failures.length > 0)
    say(`the client lost its connection (${failures[0]}) and repeated the call with the same Idempotency-Key`);
  return { ...made, note, asExpected: made.status === 'CONFIRMED' && how !== undefined };
}
