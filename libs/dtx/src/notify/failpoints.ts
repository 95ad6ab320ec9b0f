import { defineFailpoint } from '../core/failpoint.js';
import { defineScheme } from '../core/loaded-scheme-names.js';

export const SCHEME = defineScheme('notify');

const point = (name: string, step: number, disk: string, finisher: string) =>
  defineFailpoint({ name: `${SCHEME}.${name}`, scheme: SCHEME, step, role: 'service', disk, finisher });

const SCAN = 'The scan of any instance of the notification service, after the lease has expired.';

/** The crash points of best-effort notification in the order of the protocol. */
export const failpoints = {
  committed: point(
    'committed',
    1,
    'The local transaction with the result is committed. Nothing is published, and its step has not ended.',
    'The retry of the step (redelivery by the broker, or the initiator of TCC). The duplicate publishes the result.',
  ),
  published: point(
    'published',
    1,
    'The broker has confirmed the result. The step that it belongs to has not ended.',
    'The notification service records the result. The retried step publishes a duplicate, which changes nothing.',
  ),
  recorded: point(
    'recorded',
    2,
    'The notification row is PENDING and leased to this process. The message is not acked, and the target was not called.',
    'The broker redelivers the message, a duplicate. The scan calls the target after the lease has expired.',
  ),
  claimed: point(
    'claimed',
    3,
    'The scan has claimed a due notification under a new token. The target was not called for this claim.',
    SCAN,
  ),
  called: point(
    'called',
    3,
    'The target was called and has answered. The notification is still PENDING.',
    `${SCAN} It calls the target again, under the same webhook-id.`,
  ),
  delivered: point(
    'delivered',
    3,
    'The target has answered 2xx and the notification is DELIVERED.',
    'No recovery is needed, since the result is delivered.',
  ),
};
