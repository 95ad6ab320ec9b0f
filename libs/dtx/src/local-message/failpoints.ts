import { defineInboxFailpoints } from '../core/consumer/failpoints.js';
import { defineFailpoint } from '../core/failpoint.js';
import { defineScheme } from '../core/scheme.js';

export const SCHEME = defineScheme('local-message');

const point = (name: string, step: number, disk: string, finisher: string) =>
  defineFailpoint({ name: `${SCHEME}.${name}`, scheme: SCHEME, step, role: 'sender', disk, finisher });

/** The sender's crash points, in the order of the protocol; a file boundary is a crash boundary. */
export const failpoints = {
  appended: point(
    'appended',
    1,
    'The message row is inserted in the caller’s transaction, which is not committed: nothing is on disk.',
    'Nobody has to: no order, no message. The caller repeats its call, with the same Idempotency-Key.',
  ),
  committed: point(
    'committed',
    1,
    'Business rows and the message row (PENDING, leased to this process) are committed; nothing is published.',
    'The scan of any instance of the sender, once the lease has run out.',
  ),
  claimed: point(
    'claimed',
    2,
    'The scan has claimed a due row under a new token; nothing is published for this claim.',
    'The scan of any instance of the sender, once the lease has run out.',
  ),
  confirmed: point(
    'confirmed',
    2,
    'The broker has the message and has confirmed it; the row is still PENDING.',
    'The receiver handles it; should the receipt come, the row is DONE, else the scan publishes a duplicate.',
  ),
  marked: point(
    'marked',
    2,
    'The row is SENT and due again at its resend time; the receipt has not been marked.',
    'The receipt, by any instance of the sender; without one, the scan resends.',
  ),
  done: point(
    'done',
    5,
    'The row is DONE; the receipt is not acked.',
    'The broker delivers the receipt again, which changes nothing.',
  ),
};

defineInboxFailpoints(SCHEME, { handle: 3, receipt: 4 });
