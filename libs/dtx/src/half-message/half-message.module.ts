import { type DynamicModule, Inject, Injectable, Module } from '@nestjs/common';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { parseOptions } from '../core/options.js';
import { BrokerCheck } from './broker-check.js';
import { CheckBack } from './check-back.js';
import { HalfReceipts } from './half-message-receipts.js';
import {
  HALF_MESSAGE_OPTIONS,
  type HalfMessageOptions,
  type HalfMessageOptionsInput,
  halfMessageOptions,
  horizonMs,
} from './options.js';
import { ParkedCopies } from './parked-prepared-messages.js';
import { HalfMessages } from './prepare.js';
import { Copies } from './prepared-messages.js';
import { Recheck } from './recheck.js';
import { Sweeper } from './sweeper.js';
import { Verdicts } from './verdicts.js';
import { WholeVerdicts } from './whole.js';

/**
 * Final verdicts only, and beyond the last level: before, a check would find no row and rule anew. A copy that comes
 * even later (its broker stood still) does so and harms nobody: what was to be sent is sent, and what was rolled back
 * is ruled so again.
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
    // A SENT with nothing more to do was sent by a version that asked for no receipts.
    task(
      'dtx_half',
      'COALESCE(done_at, sent_at)',
      `state IN ('DONE', 'ROLLED_BACK') OR (state = 'SENT' AND next_attempt_at IS NULL)`,
    );
    task('dtx_half_parked', 'settled_at', `state = 'DONE'`);
  }
}

/** Half messages with check-back (可靠消息最终一致性). Import it beside `DtxModule.forRoot` where they are produced. */
@Module({})
export class HalfMessageModule {
  /** @throws OptionsError naming what is wrong */
  static forRoot(options: HalfMessageOptionsInput = {}): DynamicModule {
    return {
      module: HalfMessageModule,
      global: true,
      providers: [
        { provide: HALF_MESSAGE_OPTIONS, useValue: parseOptions('halfMessage', halfMessageOptions, options) },
        Copies,
        WholeVerdicts,
        Verdicts,
        HalfMessages,
        ParkedCopies,
        CheckBack,
        Sweeper,
        HalfReceipts,
        Recheck,
        VerdictPurge,
        BrokerCheck,
      ],
      exports: [HalfMessages],
    };
  }
}
