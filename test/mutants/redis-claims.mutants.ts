import { GUARDED } from './guard-edit.js';
import type { Mutant } from './mutant.js';

export const keyDeletedAfterAck: Mutant = {
  name: 'key-deleted-after-ack',
  does: 'the key in Redis is deleted after the ack',
  breaks: 'a duplicate that is delivered later is handled again',
  foundBy: 'times that the handler ran',
  edits: [{ guard: 'redis.ack', becomes: `${GUARDED} await this.claims.redis.del(key);` }],
};
