import { type DynamicModule, Inject, Injectable, Module } from '@nestjs/common';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { parseOptions } from '../core/options.js';
import { BrokerCheck } from './broker-check.js';
import { CheckBack } from './check-back.js';
import { ConsumerQueues } from './consumer-queue-check.js';
import { PreparedMessages } from './half-message-publisher.js';
import { HalfReceipts } from './half-message-receipts.js';
import {
  HALF_MESSAGE_OPTIONS,
  type HalfMessageOptions,
  type HalfMessageOptionsInput,
  halfMessageOptions,
  horizonMs,
} from './options.js';
import { ParkedPreparedMessages } from './park-prepared-message.js';
import { ParkedMessageActions } from './parked-message-actions.js';
import { Sweeper } from './resend-sweeper.js';
import { HalfMessages } from './send-half-message.js';
import { VerdictLossCheck } from './verdict-loss-check.js';
import { Verdicts } from './verdicts.js';

/**
 * Deletes final verdicts `retentionMs` after the last possible check, because a check without a row would rule again. A
 * check that is even later (the broker was stopped) does so without harm, since the row was final already.
 */
@Injectable()
class VerdictPurge {
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

/**
 * Half messages with check-back (可靠消息最终一致性). Import it beside `DtxModule.forRoot` in the producing apps. See
 * docs/schemes/half-message.md.
 */
@Module({})
export class HalfMessageModule {
  /** @throws OptionsError that names the invalid option */
  static forRoot(options: HalfMessageOptionsInput = {}): DynamicModule {
    return {
      module: HalfMessageModule,
      global: true,
      providers: [
        { provide: HALF_MESSAGE_OPTIONS, useValue: parseOptions('halfMessage', halfMessageOptions, options) },
        PreparedMessages,
        ConsumerQueues,
        VerdictLossCheck,
        Verdicts,
        HalfMessages,
        ParkedPreparedMessages,
        CheckBack,
        Sweeper,
        HalfReceipts,
        ParkedMessageActions,
        VerdictPurge,
        BrokerCheck,
      ],
      exports: [HalfMessages],
    };
  }
}
