import { Inject, Injectable } from '@nestjs/common';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { LOCAL_MESSAGE_OPTIONS, type LocalMessageOptions } from './options.js';

/** Deletes DONE messages after `retentionMs`. */
@Injectable()
export class OutboxPurge {
  constructor(purger: Purger, @Inject(LOCAL_MESSAGE_OPTIONS) options: LocalMessageOptions) {
    purger.add({
      name: 'outbox',
      statement: (limit) => ({
        sql: `DELETE FROM dtx_outbox WHERE ${pastRetention(options.retentionMs, 'done_at')} AND state = 'DONE'
          ORDER BY created_at LIMIT ${limit}`,
        values: [],
      }),
    });
  }
}
