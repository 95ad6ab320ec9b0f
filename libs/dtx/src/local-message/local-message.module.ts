import { type DynamicModule, Module } from '@nestjs/common';
import { type AsyncModuleOptions, configurableModule, type ModuleScope } from '../core/module-options.js';
import { parseOptions } from '../core/options.js';
import { LOCAL_MESSAGE_OPTIONS, type LocalMessageOptionsInput, localMessageOptions } from './options.js';
import { KeyedOutbox } from './order/keyed-append.js';
import { KeyedPurge } from './order/keyed-purge.js';
import { KeyedReceipts } from './order/keyed-receipts.js';
import { KeyedRelay } from './order/keyed-relay.js';
import { LocalMessages } from './outbox.js';
import { OutboxPurge } from './outbox-purge.js';
import { Receipts } from './outbox-receipts.js';
import { Relay } from './relay.js';

const configured = configurableModule<LocalMessageOptionsInput, 'createLocalMessageOptions'>({
  name: 'LocalMessageModule',
  factoryMethod: 'createLocalMessageOptions',
  values: [[LOCAL_MESSAGE_OPTIONS, (given) => parseOptions('localMessage', localMessageOptions, given)]],
  providers: [LocalMessages, Relay, Receipts, OutboxPurge, KeyedOutbox, KeyedRelay, KeyedReceipts, KeyedPurge],
  exports: [LocalMessages],
});

/**
 * The local message table (本地消息表), also known as the transactional outbox. Import it in the root module beside
 * `DtxModule.forRoot`. See docs/schemes/local-message.md.
 * @example
 *   imports: [DtxModule.forRoot({ app: 'order', rabbitmqUrl }), LocalMessageModule.forRoot()]
 */
@Module({})
export class LocalMessageModule {
  /** @throws OptionsError that names the invalid option */
  static forRoot(options: LocalMessageOptionsInput & ModuleScope = {}): DynamicModule {
    return configured.forRoot(LocalMessageModule, options);
  }

  /** Options from other providers. A wrong option stops the start with an OptionsError that names it. */
  static forRootAsync(
    options: AsyncModuleOptions<LocalMessageOptionsInput, 'createLocalMessageOptions'>,
  ): DynamicModule {
    return configured.forRootAsync(LocalMessageModule, options);
  }
}
