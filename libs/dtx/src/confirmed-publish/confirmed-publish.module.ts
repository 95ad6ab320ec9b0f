import { type DynamicModule, Module } from '@nestjs/common';
import { type AsyncModuleOptions, configurableModule, type ModuleScope } from '../core/module-options.js';
import { parseOptions } from '../core/options.js';
import { CONFIRMED_PUBLISH_OPTIONS, type ConfirmedPublishOptionsInput, confirmedPublishOptions } from './options.js';
import { ConfirmedMessages } from './publish-before-commit.js';

const configured = configurableModule<ConfirmedPublishOptionsInput, 'createConfirmedPublishOptions'>({
  name: 'ConfirmedPublishModule',
  factoryMethod: 'createConfirmedPublishOptions',
  values: [[CONFIRMED_PUBLISH_OPTIONS, (given) => parseOptions('reliableMessage', confirmedPublishOptions, given)]],
  providers: [ConfirmedMessages],
  exports: [ConfirmedMessages],
});

/**
 * Reliable messages without a table (可靠消息). Import it beside `DtxModule.forRoot` in the apps that publish them. See
 * docs/schemes/confirmed-publish.md.
 * @example
 *   imports: [DtxModule.forRoot({ app: 'order', rabbitmqUrl }), ConfirmedPublishModule.forRoot()]
 */
@Module({})
export class ConfirmedPublishModule {
  /** @throws OptionsError that names the invalid option */
  static forRoot(options: ConfirmedPublishOptionsInput & ModuleScope = {}): DynamicModule {
    return configured.forRoot(ConfirmedPublishModule, options);
  }

  /** Options from other providers. A wrong option stops the start with an OptionsError that names it. */
  static forRootAsync(
    options: AsyncModuleOptions<ConfirmedPublishOptionsInput, 'createConfirmedPublishOptions'>,
  ): DynamicModule {
    return configured.forRootAsync(ConfirmedPublishModule, options);
  }
}
