import { Inject, Injectable } from '@nestjs/common';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { LOCAL_MESSAGE_OPTIONS, type LocalMessageOptions } from './options.js';

/** Deletes DONE and CANCELLED messages after `retentionMs`, with their names. */
@Injectable()
export class OutboxPurge {
  constructor(purger: Purger, @Inject(LOCAL_MESSAGE_OPTIONS) options: LocalMessageOptions) {
    purger.add({
      name: 'outbox',
      statement: (limit) => ({
        sql: `DELETE m, n FROM (
            SELECT id FROM dtx_outbox WHERE ${pastRetention(options.retentionMs, 'done_at')}
              AND state IN ('DONE', 'CANCELLED') ORDER BY created_at LIMIT ${limit}) past
          STRAIGHT_JOIN dtx_outbox m ON m.id = past.id
          LEFT JOIN dtx_outbox_name n ON n.contract = m.contract AND n.name = m.name AND n.message_id = m.id`,
        values: [],
      }),
    });
  }
}
