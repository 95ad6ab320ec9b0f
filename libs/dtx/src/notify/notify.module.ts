import { type DynamicModule, Module, type Provider } from '@nestjs/common';
import { type AsyncModuleOptions, configurableModule, type ModuleScope } from '../core/module-options.js';
import { parseOptions } from '../core/options.js';
import { Deliveries } from './delivery.js';
import { Inquiry } from './inquiry.js';
import { MissingSecretNotice } from './missing-secret-notice.js';
import { NotifyPurge } from './notification-purge.js';
import { NotificationRecorder } from './notification-recorder.js';
import { NOTIFY_OPTIONS, type NotifyOptionsInput, notifyOptions } from './options.js';
import { Notifications } from './publish-notification.js';
import { WebhookClient } from './webhook-client.js';

const configuredWith = (providers: Provider[]) =>
  configurableModule<NotifyOptionsInput, 'createNotifyOptions'>({
    name: 'NotifyModule',
    factoryMethod: 'createNotifyOptions',
    values: [[NOTIFY_OPTIONS, (given) => parseOptions('notify', notifyOptions, given)]],
    providers: [Notifications, Inquiry, ...providers],
    exports: [Notifications, Inquiry],
  });
const service = configuredWith([WebhookClient, Deliveries, NotificationRecorder, NotifyPurge, MissingSecretNotice]);
const publisher = configuredWith([]);

type AsyncNotifyOptions = AsyncModuleOptions<NotifyOptionsInput, 'createNotifyOptions'>;

/**
 * Best-effort notification (最大努力通知). One app runs the notification service and imports `forService`. Every other app
 * that publishes notifications imports `forPublisher`. See docs/schemes/notification.md.
 * @example
 *   NotifyModule.forService({ service: 'webhook', secrets: [secret] }) // the app named webhook
 *   NotifyModule.forPublisher({ service: 'webhook' }) // every other app, which needs no secret
 */
@Module({})
export class NotifyModule {
  /** For the app that calls the targets. @throws OptionsError that names the invalid option */
  static forService(options: NotifyOptionsInput & ModuleScope): DynamicModule {
    return service.forRoot(NotifyModule, options);
  }

  /** As `forService`, with options from other providers, such as the secrets. A wrong option stops the start. */
  static forServiceAsync(options: AsyncNotifyOptions): DynamicModule {
    return service.forRootAsync(NotifyModule, options);
  }

  /** For an app that only publishes notifications. @throws OptionsError that names the invalid option */
  static forPublisher(options: NotifyOptionsInput & ModuleScope): DynamicModule {
    return publisher.forRoot(NotifyModule, options);
  }

  /** As `forPublisher`, with options from other providers. A wrong option stops the start. */
  static forPublisherAsync(options: AsyncNotifyOptions): DynamicModule {
    return publisher.forRootAsync(NotifyModule, options);
  }
}
