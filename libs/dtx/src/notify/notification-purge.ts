import { Inject, Injectable } from '@nestjs/common';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { NOTIFY_OPTIONS, type NotifyOptions } from './options.js';

/** Deletes settled notifications after `retentionMs`. */
@Injectable()
export class NotifyPurge {
  constructor(purger: Purger, @Inject(NOTIFY_OPTIONS) options: NotifyOptions) {
    const old = pastRetention(options.retentionMs, 'settled_at');
    purger.add({
      name: 'notifications',
      statement: (limit) => ({
        sql: `DELETE FROM dtx_notification WHERE ${old} AND state IN ('DELIVERED', 'CLOSED') ORDER BY created_at LIMIT ${limit}`,
        values: [],
      }),
    });
  }
}
