import { Inject, Injectable } from '@nestjs/common';
import { inFuture } from '../core/durable/claim-and-reschedule.js';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { SAGA_OPTIONS, type SagaOptions } from './options.js';

/**
 * Removes finished sagas with their steps and signals, and old barrier rows. The rows of a step go together, once all of
 * them are old. A step does not know whether its saga is over. So a call for a saga that is older than the retention is
 * refused where no row is left, and an operator decides.
 */
@Injectable()
export class SagaPurge {
  constructor(
    purger: Purger,
    @Inject(CORE_OPTIONS) { idempotencyRetentionMs }: CoreOptions,
    @Inject(SAGA_OPTIONS) options: SagaOptions,
  ) {
    const horizon = inFuture(-options.retentionMs);
    // A caller may store the gid under an Idempotency-Key, and a replay then reads the saga.
    const over = pastRetention(Math.max(options.retentionMs, idempotencyRetentionMs), 'settled_at');
    const task = (name: string, sql: (limit: number) => string) =>
      purger.add({ name, statement: (limit) => ({ sql: sql(limit), values: [] }) });
    task(
      'sagas',
      (limit) => `DELETE s, t, g FROM dtx_saga s
        LEFT JOIN dtx_saga_step t ON t.gid = s.id LEFT JOIN dtx_saga_signal g ON g.gid = s.id
        JOIN (SELECT id FROM dtx_saga WHERE ${over} AND settled_at IS NOT NULL ORDER BY created_at LIMIT ${limit}) AS finished
        ON finished.id = s.id`,
    );
    task(
      'saga barriers',
      (limit) => `DELETE b FROM dtx_saga_barrier b
        JOIN (SELECT gid, step, initiator, incarnation FROM dtx_saga_barrier AS one
          WHERE created_at < ${horizon} AND phase = 'do' AND NOT EXISTS
          (SELECT 1 FROM dtx_saga_barrier AS other WHERE other.gid = one.gid AND other.step = one.step
            AND other.initiator = one.initiator AND other.incarnation = one.incarnation AND other.created_at >= ${horizon})
          ORDER BY created_at LIMIT ${limit}) AS finished
        ON finished.gid = b.gid AND finished.step = b.step AND finished.initiator = b.initiator
          AND finished.incarnation = b.incarnation`,
    );
  }
}
