import { type DynamicModule, Module } from '@nestjs/common';
import { parseOptions } from '../core/options.js';
import { Deliveries } from './delivery.js';
import { Inquiry } from './inquiry.js';
import { MissingSecretNotice } from './missing-secret-notice.js';
import { NotifyPurge } from './notification-purge.js';
import { NotificationRecorder } from './notification-recorder.js';
import { NOTIFY_OPTIONS, type NotifyOptionsInput, notifyOptions } from './options.js';
import { Notifications } from './publish-notification.js';
import { WebhookClient } from './webhook-client.js';

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
