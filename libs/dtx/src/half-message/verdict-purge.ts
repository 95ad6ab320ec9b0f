import { Inject, Injectable } from '@nestjs/common';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptions, horizonMs } from './options.js';

/**
 * Deletes final verdicts `retentionMs` after the last possible check, because a check without a row would rule again. A
 * check that is even later (the broker was stopped) does so without harm, since the row was final already.
 */
@Injectable()
export class VerdictPurge {
  constructor(purger: Purger, @Inject(HALF_MESSAGE_OPTIONS) options: HalfMessageOptions) {
    const task = (table: string, endedAt: string, isFinal: string) => {
      const old = pastRetention(horizonMs(options) + options.retentionMs, endedAt);
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
