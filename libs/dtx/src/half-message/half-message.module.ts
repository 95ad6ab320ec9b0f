import { type DynamicModule, Module } from '@nestjs/common';
import { type AsyncModuleOptions, configurableModule, type ModuleScope } from '../core/module-options.js';
import { parseOptions } from '../core/options.js';
import { BrokerCheck } from './broker-check.js';
import { CheckBack } from './check-back.js';
import { ConsumerQueues } from './consumer-queue-check.js';
import { PreparedMessages } from './half-message-publisher.js';
import { HalfReceipts } from './half-message-receipts.js';
import { HALF_MESSAGE_OPTIONS, type HalfMessageOptionsInput, halfMessageOptions } from './options.js';
import { ParkedPreparedMessages } from './park-prepared-message.js';
import { ParkedMessageActions } from './parked-message-actions.js';
import { Sweeper } from './resend-sweeper.js';
import { HalfMessages } from './send-half-message.js';
import { VerdictLossCheck } from './verdict-loss-check.js';
import { VerdictPurge } from './verdict-purge.js';
import { Verdicts } from './verdicts.js';

const configured = configurableModule<HalfMessageOptionsInput, 'createHalfMessageOptions'>({
  name: 'HalfMessageModule',
  factoryMethod: 'createHalfMessageOptions',
  values: [[HALF_MESSAGE_OPTIONS, (given) => parseOptions('halfMessage', halfMessageOptions, given)]],
  providers: [
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
});

/**
 * Half messages with check-back (可靠消息最终一致性). Import it beside `DtxModule.forRoot` in the producing apps. See
 * docs/schemes/half-message.md.
 * @example
 *   imports: [DtxModule.forRoot({ app: 'order', rabbitmqUrl }), HalfMessageModule.forRoot()]
 */
@Module({})
export class HalfMessageModule {
  /** @throws OptionsError that names the invalid option */
  static forRoot(options: HalfMessageOptionsInput & ModuleScope = {}): DynamicModule {
    return configured.forRoot(HalfMessageModule, options);
  }

  /** Options from other providers. A wrong option stops the start with an OptionsError that names it. */
  static forRootAsync(options: AsyncModuleOptions<HalfMessageOptionsInput, 'createHalfMessageOptions'>): DynamicModule {
    return configured.forRootAsync(HalfMessageModule, options);
  }
}
