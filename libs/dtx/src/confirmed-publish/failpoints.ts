import { defineRedisFailpoints } from '../core/consumer/failpoints.js';
import { defineFailpoint } from '../core/failpoint.js';
import { defineScheme } from '../core/loaded-scheme-names.js';

export const SCHEME = defineScheme('reliable-message');

/** The publisher's only crash point. */
export const failpoints = {
  published: defineFailpoint({
    name: `${SCHEME}.published`,
    scheme: SCHEME,
    step: 1,
    role: 'sender',
    disk: 'The broker has confirmed the message. The local transaction that it belongs to is not committed.',
    finisher:
      'No recovery exists. The message describes a change that was rolled back, and the next true value corrects its receiver.',
  }),
};

defineRedisFailpoints(SCHEME, 2);
