import { type DynamicModule, Inject, Injectable, Logger, Module, OnModuleInit } from '@nestjs/common';
import { Purger, pastRetention } from '../core/durable/purge.js';
import { parseOptions } from '../core/options.js';
import { Deliveries } from './delivery.js';
import { Inquiry } from './inquiry.js';
import { NotificationRecorder } from './notification-recorder.js';
import { NOTIFY_OPTIONS, type NotifyOptions, type NotifyOptionsInput, notifyOptions } from './options.js';
import { Notifications } from './publish-notification.js';
import { WebhookClient } from './webhook-client.js';

/** Deletes settled notifications after `retentionMs`. */
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

/** Logs a missing secret at start. Without it every notification is dropped silently. */
@Injectable()
class MissingSecretNotice implements OnModuleInit {
  constructor(@Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions) {}

  onModuleInit(): void {
    if (this.options.secrets.length === 0)
      new Logger('Notify').log('notifications are off: `secrets` is empty; set one to sign and send notifications');
  }
}

/**
 * Best-effort notification (最大努力通知). One app runs the notification service and imports `forService`. Every other app
 * that publishes notifications imports `forPublisher`. See docs/schemes/notification.md.
 */
@Module({})
export class NotifyModule {
  /** @throws OptionsError that names the invalid option */
  static forService(options: NotifyOptionsInput): DynamicModule {
    const service = [WebhookClient, Deliveries, NotificationRecorder, NotifyPurge, MissingSecretNotice];
    return NotifyModule.with(options, service);
  }

  /** @throws OptionsError that names the invalid option */
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
