import { type DynamicModule, Inject, Injectable, Logger, Module, OnModuleInit } from '@nestjs/common';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { parseOptions } from '../core/options.js';
import { Deliveries } from './delivery.js';
import { Inquiry } from './inquiry.js';
import { Records } from './notification-consumer.js';
import { NOTIFY_OPTIONS, type NotifyOptions, type NotifyOptionsInput, notifyOptions } from './options.js';
import { Notifications } from './publish.js';
import { TargetCaller } from './webhook-client.js';

@Injectable()
class NotifyPurge {
  constructor(purger: Purger, @Inject(NOTIFY_OPTIONS) options: NotifyOptions) {
    const old = pastRetention(options.retentionMs, 'settled_at');
    purger.add({
      name: 'notifications',
      statement: (limit) => ({
        sql: `DELETE FROM dtx_notification WHERE ${old} AND state IN ('DELIVERED', 'CLOSED') ORDER BY created_at LIMIT ${limit}`,
        values: [],
      }),
    });
  }
}

/** Says at start what is otherwise only noticed by somebody who was not told. */
@Injectable()
class NotifyNotice implements OnModuleInit {
  constructor(@Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions) {}

  onModuleInit(): void {
    if (this.options.secrets.length === 0)
      new Logger('Notify').log('there is no secret to sign with: nobody is notified');
  }
}

/**
 * Best-effort notification (最大努力通知). `forService` where the notification service runs: one app; `forPublisher` in
 * every other app that has something to tell.
 */
@Module({})
export class NotifyModule {
  /** @throws OptionsError naming what is wrong */
  static forService(options: NotifyOptionsInput): DynamicModule {
    const service = [TargetCaller, Deliveries, Records, NotifyPurge, NotifyNotice];
    return NotifyModule.with(options, service);
  }

  /** @throws OptionsError naming what is wrong */
  static forPublisher(options: NotifyOptionsInput): DynamicModule {
    return NotifyModule.with(options, []);
  }

  private static with(options: NotifyOptionsInput, providers: NonNullable<DynamicModule['providers']>): DynamicModule {
    const checked = parseOptions('notify', notifyOptions, options);
    return {
      module: NotifyModule,
      global: true,
      providers: [{ provide: NOTIFY_OPTIONS, useValue: checked }, Notifications, Inquiry, ...providers],
      exports: [Notifications, Inquiry],
    };
  }
}
