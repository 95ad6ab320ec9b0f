import { assertGid } from '../core/ids.js';
import { type DtxNotification, type Notifications } from '../notify/index.js';
import { notificationToPublish } from '../notify/publish-notification.js';
import { type FakeOptions, type PublicOf, payloadMaxBytesOf } from './fake-options.js';

/** Options of `FakeNotifications`. */
export interface FakeNotificationsOptions extends FakeOptions {
  /** Whether a notification with this target can be delivered. Default: each one. */
  readonly isFor?: (target: string | undefined) => boolean;
}

/**
 * Fake of `Notifications`: checks and keeps notifications, and calls no target.
 * @example
 *   { provide: Notifications, useClass: FakeNotifications }
 */
export class FakeNotifications implements PublicOf<Notifications> {
  private readonly all: DtxNotification[] = [];

  constructor(private readonly options: FakeNotificationsOptions = {}) {}

  /** The answer of the option `isFor`, true by default. */
  isFor(target: string | undefined): boolean {
    return this.options.isFor?.(target) ?? true;
  }

  /** @throws DtxError as `Notifications.publish` */
  async publish(notification: DtxNotification): Promise<void> {
    if (!this.isFor(notification.target)) return;
    notificationToPublish(notification, payloadMaxBytesOf(this.options));
    assertGid(notification.gid);
    this.all.push(structuredClone(notification));
  }

  /** The published notifications, oldest first. A repeated step publishes the same id again. */
  published(): DtxNotification[] {
    return [...this.all];
  }

  /** Forgets all notifications. */
  clear(): void {
    this.all.length = 0;
  }
}
