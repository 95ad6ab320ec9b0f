import { Inject, Injectable } from '@nestjs/common';
import { INBOX_SLACK_MS } from './consumer/incoming-message.js';
import { inFuture } from './durable/claim.js';
import { Purger, pastRetention } from './durable/purge.js';
import type { CoreOptions } from './options.js';
import { CORE_OPTIONS } from './tokens.js';

/**
 * Registers the purge of the two tables that the core itself owns: `dtx_inbox` and `dtx_idempotency`. A retention that
 * is too short would let a late duplicate run again.
 */
@Injectable()
export class CorePurge {
  constructor(purger: Purger, @Inject(CORE_OPTIONS) options: CoreOptions) {
    const { inbox, idempotencyRetentionMs } = options;
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
  }
}
