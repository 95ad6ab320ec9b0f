import { defineFailpoint } from '../core/failpoint.js';
import { defineScheme } from '../core/scheme.js';

export const SCHEME = defineScheme('notify');

const point = (name: string, step: number, disk: string, finisher: string) =>
  defineFailpoint({ name: `${SCHEME}.${name}`, scheme: SCHEME, step, role: 'service', disk, finisher });

const SCAN = 'The scan of any instance of the notification service, once the lease has run out.';

/** The crash points of best-effort notification, in the order of the protocol. */
export const failpoints = {
  committed: point(
    'committed',
    1,
    'The local transaction whose result is to be told is committed; nothing is published, and its step is not ended.',
    'Whoever repeats the step (the broker’s redelivery, the initiator of TCC): the duplicate publishes the result.',
  ),
  published: point(
    'published',
    1,
    'The broker has the result and has confirmed it; the step that it belongs to is not ended.',
    'The notification service records it; the step is repeated and publishes a duplicate, which changes nothing.',
  ),
  recorded: point(
    'recorded',
    2,
    'The notification is a row (PENDING, leased to this process); the message is not acked, the target was not called.',
    'The broker delivers the message again, which is a duplicate; the scan calls the target once the lease has run out.',
  ),
  claimed: point(
    'claimed',
    3,
    'The scan has claimed a due notification under a new token; the target was not called for this claim.',
    SCAN,
  ),
  called: point(
    'called',
    3,
    'The target was called and has answered; the notification is still PENDING.',
    `${SCAN} The target hears of it again, under the same webhook-id.`,
  ),
  delivered: point(
    'delivered',
    3,
    'The target has answered 2xx and the notification is DELIVERED: nothing is left to do.',
    'Nobody has to: the result is told.',
  ),
};
