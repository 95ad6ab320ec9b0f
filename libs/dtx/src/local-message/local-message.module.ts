import { type DynamicModule, Module } from '@nestjs/common';
import { parseOptions } from '../core/options.js';
import { LOCAL_MESSAGE_OPTIONS, type LocalMessageOptionsInput, localMessageOptions } from './options.js';
import { LocalMessages } from './outbox.js';
import { OutboxPurge } from './outbox-purge.js';
import { Receipts } from './outbox-receipts.js';
import { Relay } from './relay.js';

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
