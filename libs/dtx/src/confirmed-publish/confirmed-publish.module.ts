import { type DynamicModule, Module } from '@nestjs/common';
import { parseOptions } from '../core/options.js';
import { RELIABLE_MESSAGE_OPTIONS, type ReliableMessageOptionsInput, reliableMessageOptions } from './options.js';
import { ReliableMessages } from './publish.js';

/** Reliable messages on any broker (可靠消息, 其他MQ). Import it beside `DtxModule.forRoot` where they are published. */
@Module({})
export class ReliableMessageModule {
  /** @throws OptionsError naming what is wrong */
  static forRoot(options: ReliableMessageOptionsInput = {}): DynamicModule {
    const checked = parseOptions('reliableMessage', reliableMessageOptions, options);
    return {
      module: ReliableMessageModule,
      global: true,
      providers: [{ provide: RELIABLE_MESSAGE_OPTIONS, useValue: checked }, ReliableMessages],
      exports: [ReliableMessages],
    };
  }
}
