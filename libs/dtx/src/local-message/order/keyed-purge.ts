import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../../core/database/database.service.js';
import { inFuture } from '../../core/durable/claim-and-reschedule.js';
import { Purger, pastRetention } from '../../core/durable/purge.js';
import { LOCAL_MESSAGE_OPTIONS, type LocalMessageOptions } from '../options.js';

/** Deletes DONE messages with a key after `retentionMs`, and the keys that have had no message for that time. */
@Injectable()
export class KeyedPurge {
  constructor(
    purger: Purger,
    private readonly database: Database,
    @Inject(LOCAL_MESSAGE_OPTIONS) private readonly options: LocalMessageOptions,
  ) {
    purger.add({
      name: 'messages with a key',
      statement: (limit) => ({
        sql: `DELETE FROM dtx_keyed WHERE ${pastRetention(options.retentionMs, 'done_at')} AND state = 'DONE'
          ORDER BY created_at LIMIT ${limit}`,
        values: [],
      }),
    });
    purger.add({ name: 'keys', batch: (limit) => this.purgeKeys(limit) });
  }

  /**
   * A key with an open message keeps its row, because places of a key that begins anew would come before it. The DELETE
   * waits for an append that holds the row, and then finds it used.
   */
  private async purgeKeys(limit: number): Promise<number> {
    // guard: order.used-key
    const isIdle = `used_at < ${inFuture(-this.options.retentionMs)}
      AND NOT EXISTS (SELECT 1 FROM dtx_keyed m WHERE m.open_key = k.stream_key)`;
    const keys = await this.database.own.query<Array<{ stream_key: string }>>(
      `SELECT stream_key FROM dtx_keyed_seq k FORCE INDEX (by_age) WHERE ${isIdle} ORDER BY used_at LIMIT ${Number(limit)}`,
    );
    if (keys.length === 0) return 0;
    const { affectedRows } = await this.database.own.query(
      `DELETE k FROM dtx_keyed_seq k WHERE k.stream_key IN (?) AND ${isIdle}`,
      [keys.map(({ stream_key }) => stream_key).sort()],
    );
    return affectedRows;
  }
}
