import { Inject, Injectable } from '@nestjs/common';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { TCC_OPTIONS, type TccOptions } from './options.js';

/**
 * Removes settled transactions with their branches, and old barrier rows. The barrier rows of a gid and branch go
 * together, once all are old and every Try has its second phase. A Try of a parked transaction must stay known until an
 * operator resolves it. The row in place must not go before those beside it, or a late call of theirs would find the
 * place free.
 */
@Injectable()
export class TccPurge {
  constructor(
    purger: Purger,
    @Inject(CORE_OPTIONS) { idempotencyRetentionMs }: CoreOptions,
    @Inject(TCC_OPTIONS) options: TccOptions,
  ) {
    const horizon = inFuture(-options.retentionMs);
    const old = `created_at < ${horizon}`;
    // A caller may store the gid under an Idempotency-Key, and a replay then reads the transaction.
    const over = pastRetention(Math.max(options.retentionMs, idempotencyRetentionMs), 'settled_at');
    const task = (name: string, sql: (limit: number) => string) =>
      purger.add({ name, statement: (limit) => ({ sql: sql(limit), values: [] }) });
    task(
      'tcc transactions',
      (limit) => `DELETE t, b FROM dtx_tcc t LEFT JOIN dtx_tcc_branch b ON b.gid = t.id
        JOIN (SELECT id FROM dtx_tcc WHERE ${over} AND settled_at IS NOT NULL ORDER BY created_at LIMIT ${limit}) AS finished
        ON finished.id = t.id`,
    );
    task(
      'tcc barriers',
      (limit) => `DELETE b FROM dtx_tcc_barrier b
        JOIN (SELECT gid, branch FROM dtx_tcc_barrier AS one WHERE ${old} AND phase = 'second' AND NOT EXISTS
          (SELECT 1 FROM dtx_tcc_barrier AS other WHERE other.gid = one.gid AND other.branch = one.branch
            HAVING MAX(other.created_at) >= ${horizon} OR SUM(IF(other.phase = 'try', 1, -1)) <> 0)
          ORDER BY created_at LIMIT ${limit}) AS finished
        ON finished.gid = b.gid AND finished.branch = b.branch`,
    );
  }
}
