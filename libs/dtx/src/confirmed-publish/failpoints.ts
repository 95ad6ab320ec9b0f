import { defineRedisFailpoints } from '../core/consumer/failpoints.js';
import { defineFailpoint } from '../core/failpoint.js';
import { defineScheme } from '../core/scheme.js';

export const SCHEME = defineScheme('reliable-message');

export const failpoints = {
  published: defineFailpoint({
    name: `${SCHEME}.published`,
    scheme: SCHEME,
    step: 1,
    role: 'sender',
    disk: 'The broker has the message and has confirmed it; the local transaction it belongs to is not committed.',
    finisher:
      'Nobody can: the message tells of what was rolled back. Its receiver must bear that; the next true value corrects it.',
  }),
};

defineRedisFailpoints(SCHEME, 2);
