import { Inject, Injectable, Logger, OnModuleInit } from '@nestjs/common';
import { NOTIFY_OPTIONS, type NotifyOptions } from './options.js';

/** Logs a missing secret at start. Without it every notification is dropped silently. */
@Injectable()
export class MissingSecretNotice implements OnModuleInit {
  constructor(@Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions) {}

  onModuleInit(): void {
    if (this.options.secrets.length === 0)
      new Logger('Notify').log('notifications are off: `secrets` is empty; set one to sign and send notifications');
  }
}
