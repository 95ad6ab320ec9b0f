import { type DynamicModule, Inject, Injectable, Module } from '@nestjs/common';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { parseOptions } from '../core/options.js';
import {
  LOCAL_MESSAGE_OPTIONS,
  type LocalMessageOptions,
  type LocalMessageOptionsInput,
  localMessageOptions,
} from './options.js';
import { LocalMessages } from './outbox.js';
import { Receipts } from './outbox-receipts.js';
import { Relay } from './relay.js';

/** Deletes DONE messages after `retentionMs`. */
@Injectable()
class OutboxPurge {
  constructor(purger: Purger, @Inject(LOCAL_MESSAGE_OPTIONS) options: LocalMessageOptions) {
    purger.add({
      name: 'outbox',
      statement: (limit) => ({
        sql: `DELETE FROM dtx_outbox WHERE ${pastRetention(options.retentionMs, 'done_at')} AND state = 'DONE'
          ORDER BY created_at LIMIT ${limit}`,
        values: [],
      }),
    });
  }
}

/**
 * The local message table (本地消息表), also known as the transactional outbox. Import it in the root module beside
 * `DtxModule.forRoot`. See docs/schemes/local-message.md.
 */
@Module({})
export class LocalMessageModule {
  /** @throws OptionsError that names the invalid option */
  static forRoot(options: LocalMessageOptionsInput = {}): DynamicModule {
    const checked = parseOptions('localMessage', localMessageOptions, options);
    return {
      module: LocalMessageModule,
      global: true,
      providers: [{ provide: LOCAL_MESSAGE_OPTIONS, useValue: checked }, LocalMessages, Relay, Receipts, OutboxPurge],
      exports: [LocalMessages],
    };
  }
}
