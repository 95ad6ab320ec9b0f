import { type DynamicModule, Module } from '@nestjs/common';
import { parseOptions } from '../core/options.js';
import { CONFIRMED_PUBLISH_OPTIONS, type ConfirmedPublishOptionsInput, confirmedPublishOptions } from './options.js';
import { ConfirmedMessages } from './publish-before-commit.js';

/**
 * Reliable messages without a table (可靠消息). Import it beside `DtxModule.forRoot` in the apps that publish them. See
 * docs/schemes/confirmed-publish.md.
 */
@Module({})
export class ConfirmedPublishModule {
  /** @throws OptionsError that names the invalid option */
  static forRoot(options: ConfirmedPublishOptionsInput = {}): DynamicModule {
    const checked = parseOptions('reliableMessage', confirmedPublishOptions, options);
    return {
      module: ConfirmedPublishModule,
      global: true,
      providers: [{ provide: CONFIRMED_PUBLISH_OPTIONS, useValue: checked }, ConfirmedMessages],
      exports: [ConfirmedMessages],
    };
  }
}
