// One crash and recovery: the order app is killed right after the commit that holds the order and its message, before
// anything is published. The client repeats its call with the same Idempotency-Key and finds the order that exists.
import { buy } from './purchase.mjs';

const FAILPOINT = 'local-message.committed';
const WANTED = { buyerId: 'alice', sku: 'book', quantity: 1 };

export async function crashAndRecover(supervisor, { say, failpointLog }) {
  say(`arming the order app: it dies at ${FAILPOINT}, right after its commit, before anything is published`);
  await supervisor.restart('order', {
    env: { DTX_FAILPOINTS: `${FAILPOINT}=1*crash`, DTX_FAILPOINT_LOG: failpointLog },
  });
  let how = null;
  const onEvent = (event) => {
    if (event.kind === 'died' && event.app === 'order') how ??= event.how;
  };
  supervisor.on('event', onEvent);
  let lost = null;
  const onFailure = (why) => {
    lost ??= why;
  };
  const made = await buy(supervisor.urls, 'local-message', WANTED, { onFailure, timeoutMs: 5_000 });
  supervisor.off('event', onEvent);
  const note = how ? `order app killed after its commit (${how}), healed` : 'the order app did not crash';
  if (lost) say(`the client lost its connection (${lost}) and repeated the call with the same Idempotency-Key`);
  return { ...made, note, asExpected: made.status === 'CONFIRMED' && how !== null };
}
