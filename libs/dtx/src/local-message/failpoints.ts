import { defineInboxFailpoints } from '../core/consumer/failpoints.js';
import { defineFailpoint } from '../core/failpoint.js';
import { defineScheme } from '../core/loaded-scheme-names.js';

export const SCHEME = defineScheme('local-message');

const point = (name: string, step: number, disk: string, finisher: string) =>
  defineFailpoint({ name: `${SCHEME}.${name}`, scheme: SCHEME, step, role: 'sender', disk, finisher });

/** The sender's crash points in the order of the protocol. Each file of the scheme ends at one of them. */
export const failpoints = {
  appended: point(
    'appended',
    1,
    'The message row belongs to the caller’s transaction, which is not committed. Nothing is on disk.',
    'No recovery is needed, since no order and no message exist. The caller retries with the same Idempotency-Key.',
  ),
  committed: point(
    'committed',
    1,
    'Business rows and the message row (PENDING, leased to this process) are committed. Nothing is published.',
    'The scan of any instance of the sender, after the lease has expired.',
  ),
  due: point(
    'due',
    2,
    'The scan has claimed a delayed row at its due time. The row is PENDING under a new token. Nothing is published.',
    'The scan of any instance of the sender, after the lease has expired.',
  ),
  cancelled: point(
    'cancelled',
    1,
    'The cancel of a delayed message belongs to the caller’s transaction, which is not committed. The row is SCHEDULED.',
    'No recovery is needed. The message is sent when it is due, unless the caller repeats its transaction.',
  ),
  cancelInboxed: point(
    'cancel-inboxed',
    1,
    'The message was due. The inbox rows in place of its consumers belong to the caller’s transaction, which is open.',
    'No recovery is needed. The consumers handle the message, unless the caller repeats its transaction first.',
  ),
  claimed: point(
    'claimed',
    2,
    'The scan has claimed a due row under a new token. Nothing is published for this claim.',
    'The scan of any instance of the sender, after the lease has expired.',
  ),
  confirmed: point(
    'confirmed',
    2,
    'The broker has confirmed the message. The row is still PENDING.',
    'The receiver handles the message. Its receipt makes the row DONE. Without a receipt the scan publishes a duplicate.',
  ),
  marked: point(
    'marked',
    2,
    'The row is SENT and due again at its resend time. The receipt is not recorded.',
    'Any instance of the sender that consumes the receipt. Without a receipt the scan resends.',
  ),
  done: point(
    'done',
    5,
    'The row is DONE. The receipt is not acked.',
    'The broker redelivers the receipt, which changes nothing.',
  ),
  keyed: point(
    'keyed',
    1,
    'The message with a key and its place belong to the caller’s transaction, which is not committed. Nothing is on disk.',
    'No recovery is needed. The caller retries. Other transactions of the key wait until the server ends this one.',
  ),
  notHead: point(
    'not-head',
    2,
    'The message with a key is WAITING behind the head. This process has not looked at the head again.',
    'The instance that ends the head, or the search for stranded keys of any instance.',
  ),
  released: point(
    'released',
    5,
    'The predecessor is DONE. Its successor is claimed as the head of the key and not published.',
    'The scan of any instance of the sender, after the lease has expired.',
  ),
  parkedThere: point(
    'parked-there',
    5,
    'A receiver has parked the head of a key. The row is HELD, and the receipt is not acked.',
    'The broker redelivers the receipt. An operator retries or resolves the message at the receiver, and its receipt ends the row.',
  ),
};

defineInboxFailpoints(SCHEME, { handle: 3, receipt: 4 });
