import { defineRedisFailpoints } from '../core/consumer/failpoints.js';
import { defineFailpoint } from '../core/failpoint.js';

export const SCHEME = 'reliable-message';

export const failpoints = {
  published: defineFailpoint({
    name: `${SCHEME}.published`,
    scheme: SCHEME,
    step: 1,
    app: 'inventory',
    disk: 'The broker has the message and has confirmed it; the local transaction it belongs to is not committed.',
    finisher:
      'Nobody can: the message tells of what was rolled back. Its receiver must bear that; the next true value corrects it.',
  }),
};

defineRedisFailpoints(SCHEME, 'order', 2);
