import { type DynamicModule, Inject, Injectable, Module } from '@nestjs/common';
import { Database } from '../core/database/database.service.js';
import { idFloor } from '../core/gid.js';
import { parseOptions } from '../core/options.js';
import { Purger } from '../core/purge.js';
import { BrokerCheck } from './broker-check.js';
import { CheckBack } from './check-back.js';
import { Copies } from './copies.js';
import { HalfMessageOperations } from './operations.js';
import {
  HALF_MESSAGE_OPTIONS,
  type HalfMessageOptions,
  type HalfMessageOptionsInput,
  halfMessageOptions,
  horizonMs,
} from './options.js';
import { ParkedCopies } from './parked-copies.js';
import { HalfMessages } from './prepare.js';
import { Sweeper } from './sweeper.js';
import { Verdicts } from './verdicts.js';

/**
 * Final verdicts only, and beyond the last level: before, a check would find no row and rule anew. A copy that comes
 * even later (its broker stood still) does so and harms nobody: what was to be sent is sent, and what was rolled back
 * is ruled so again.
 */
@Injectable()
class VerdictPurge {
  constructor(purger: Purger, database: Database, @Inject(HALF_MESSAGE_OPTIONS) options: HalfMessageOptions) {
    const values = () => [idFloor(database.nowMs() - horizonMs(options) - options.retentionMs)];
    const task = (table: string, states: string) =>
      purger.add({
        name: table,
        statement: (limit) => ({
          sql: `DELETE FROM ${table} WHERE id < ? AND state IN (${states}) ORDER BY id LIMIT ${limit}`,
          values: values(),
        }),
      });
    task('dtx_half', `'SENT', 'ROLLED_BACK'`);
    task('dtx_half_parked', `'DONE'`);
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
        Verdicts,
        HalfMessages,
        ParkedCopies,
        CheckBack,
        Sweeper,
        HalfMessageOperations,
        VerdictPurge,
        BrokerCheck,
      ],
      exports: [HalfMessages],
    };
  }
}
