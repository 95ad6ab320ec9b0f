import { Inject, Injectable, OnModuleInit } from '@nestjs/common';
import { libraryLogger } from '../core/library-logger.js';
import { NOTIFY_OPTIONS, type NotifyOptions } from './options.js';

/** Logs a missing secret at the start of the service. Without it no target is called. */
@Injectable()
export class MissingSecretNotice implements OnModuleInit {
  constructor(@Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions) {}

  onModuleInit(): void {
    if (this.options.secrets.length === 0)
      libraryLogger('notifications').log(
        'notifications are off: `secrets` is empty; set one to sign and send them. Those of other apps wait',
      );
  }
}
