import { Inject, Injectable } from '@nestjs/common';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import type { CoreOptions } from '../core/options.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions, horizonMs } from './options.js';

/**
 * Deletes final verdicts `retentionMs` after the last possible check, because a check without a row would rule again. A
 * check that is even later (the broker was stopped) does so without harm, since the row was final already.
 */
@Injectable()
export class VerdictPurge {
  constructor(
    purger: Purger,
    @Inject(CORE_OPTIONS) { idempotencyRetentionMs }: CoreOptions,
    @Inject(HALF_MESSAGE_OPTIONS) options: HalfMessageOptions,
  ) {
    // A caller may store the gid under an Idempotency-Key, and a replay then asks for the verdict.
    const keptMs = horizonMs(options) + Math.max(options.retentionMs, idempotencyRetentionMs);
    const task = (table: string, endedAt: string, isFinal: string) => {
      const old = pastRetention(keptMs, endedAt);
      const statement = (limit: number) => ({
        sql: `DELETE FROM ${table} WHERE ${old} AND (${isFinal}) ORDER BY created_at LIMIT ${limit}`,
        values: [],
      });
      purger.add({ name: table, statement });
    };
    // SENT without `next_attempt_at` comes from a version without receipts.
    task(
      'dtx_half',
      'COALESCE(done_at, sent_at)',
      `state IN ('DONE', 'ROLLED_BACK') OR (state = 'SENT' AND next_attempt_at IS NULL)`,
    );
    task('dtx_half_parked', 'settled_at', `state = 'DONE'`);
  }
}
