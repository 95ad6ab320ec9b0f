import { Inject, Injectable } from '@nestjs/common';
import { INBOX_SLACK_MS } from './consumer/incoming-message.js';
import { inFuture } from './durable/claim-and-reschedule.js';
import { Purger, pastRetention } from './durable/purge.js';
import { CORE_OPTIONS } from './injection-tokens.js';
import type { CoreOptions } from './options.js';

/**
 * Registers the purge of the tables that the core itself owns. For `dtx_inbox` and `dtx_idempotency`, a retention that is
 * too short would let a late duplicate run again. Open alerts stay. So do records of resolutions by hand: the audit needs
 * them as long as the business rows that such a resolution has left unchanged.
 */
@Injectable()
export class CorePurge {
  constructor(purger: Purger, @Inject(CORE_OPTIONS) options: CoreOptions) {
    const { inbox, idempotencyRetentionMs, alertRetentionMs } = options;
    const old = inFuture(-alertRetentionMs);
    purger.add({
      name: 'inbox',
      statement: (limit) => ({
        sql: `DELETE FROM dtx_inbox WHERE ${pastRetention(inbox.retentionMs + INBOX_SLACK_MS, 'settled_at')}
          AND state = 'HANDLED' ORDER BY created_at LIMIT ${limit}`,
        values: [],
      }),
    });
    purger.add({
      name: 'idempotency keys',
      statement: (limit) => ({
        sql: `DELETE FROM dtx_idempotency WHERE created_at < ${inFuture(-idempotencyRetentionMs)} ORDER BY created_at LIMIT ${limit}`,
        values: [],
      }),
    });
    purger.add({
      name: 'closed alerts',
      statement: (limit) => ({
        sql: `DELETE FROM dtx_alert WHERE closed_at < ${old} ORDER BY closed_at LIMIT ${limit}`,
        values: [],
      }),
    });
    purger.add({
      name: 'records of operator actions',
      statement: (limit) => ({
        sql: `DELETE FROM dtx_operation WHERE at < ${old} AND action NOT IN ('done', 'reject') ORDER BY at LIMIT ${limit}`,
        values: [],
      }),
    });
  }
}
