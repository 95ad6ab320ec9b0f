import { type DynamicModule, Module } from '@nestjs/common';
import { parseOptions } from '../core/options.js';
import { CONFIRMED_PUBLISH_OPTIONS, type ConfirmedPublishOptionsInput, confirmedPublishOptions } from './options.js';
import { ConfirmedMessages } from './publish.js';

/** Reliable messages on any broker (可靠消息, 其他MQ). Import it beside `DtxModule.forRoot` where they are published. */
@Module({})
export class ConfirmedPublishModule {
  /** @throws OptionsError naming what is wrong */
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
