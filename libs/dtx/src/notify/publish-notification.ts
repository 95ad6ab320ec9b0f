// Step 1 of 5 - publish: publishes a committed result before its step ends (ack, TCC answer or XA done mark). If the process
// dies in between, the retried step publishes again under the same id.
import { Inject, Injectable } from '@nestjs/common';
import { Broker } from '../core/broker/broker.service.js';
import { checkedJson, type Sendable } from '../core/broker/outgoing-payload.js';
import { QueueWatch } from '../core/durable/unattended-queues.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid } from '../core/ids.js';
import { CORE_OPTIONS } from '../core/injection-tokens.js';
import { libraryLogger } from '../core/library-logger.js';
import type { CoreOptions } from '../core/options.js';
import { currentTraceparent } from '../core/trace-and-gid-context.js';
import { Traced } from '../core/traced-steps.js';
import { failpoints, SCHEME } from './failpoints.js';
import { NOTIFICATION_TYPE, NOTIFY_QUEUE_KIND, notificationToSend, notifyQueueOf } from './notification-message.js';
import { NOTIFY_OPTIONS, type NotifyOptions } from './options.js';

/** An event for a receiver outside, delivered as a signed webhook. */
export interface Notification {
  /** Id of the event, 1 to 64 of [0-9A-Za-z_.:-]. Each repetition must carry the same id. Sent as `webhook-id`. */
  readonly id: string;
  readonly gid: string;
  /** Type of the event, such as `payment.captured`. */
  readonly type: string;
  /** Time of the event. */
  readonly at: Date;
  /** http(s) URL. The default is the service's `defaultTarget`. */
  readonly target?: string | undefined;
  readonly data: object;
}

/**
 * Publishes results for the notification service.
 * @example
 *   const id = `captured-${orderId}`; // the same at each repetition
 *   await this.notifications.publish({ id, gid: orderId, type: 'payment.captured', at: capturedAt, data: { orderId } });
 */
@Injectable()
export class Notifications {
  private readonly logger = libraryLogger('notifications');
  private isDropSaid = false;

  /** @internal */
  constructor(
    private readonly broker: Broker,
    private readonly queueWatch: QueueWatch,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions,
  ) {}

  /** True if a notification with this target can be delivered. Otherwise `publish` does nothing. */
  isFor(target: string | undefined): boolean {
    const { secrets, service, defaultTarget, serviceHasDefaultTarget } = this.options;
    const isService = service === this.core.app;
    // Only the service itself signs, and knows its default target.
    if (isService && secrets.length === 0) return false;
    return target !== undefined || defaultTarget !== undefined || (!isService && serviceHasDefaultTarget);
  }

  /** Says once that a target is missing, which may be an unset variable. Missing secrets are said at the start. */
  private sayDropped({ type, gid, target = this.options.defaultTarget }: Notification): void {
    if (this.isDropSaid || target !== undefined) return;
    this.isDropSaid = true;
    this.logger.warn(
      `notification ${type} (gid ${gid}) has no target and is not sent: set defaultTarget of NotifyModule, or give a target; ` +
        'ask isFor(target) before, if that is meant (said once)',
    );
  }

  /**
   * Resolves with the publisher confirm. The service then delivers the notification or raises an alert. Call it after the
   * commit of the result and before its step ends. A step ends with the ack of a message (`@BeforeAck`), the answer of a
   * TCC phase (`@Confirmed`) or the done mark of an XA transaction. Call it again if the step is retried.
   * @throws BrokerUnavailable or Unconfirmed without a publisher confirm
   * @throws DtxError if the notification violates its schema, is not JSON, or exceeds `payloadMaxBytes`
   */
  @Traced(({ id, gid, type }: Notification) => ({
    operation: 'create',
    target: type,
    scheme: SCHEME,
    gid,
    messageId: id,
  }))
  async publish(notification: Notification): Promise<void> {
    const { id, gid, target } = notification;
    if (!this.isFor(target)) return this.sayDropped(notification);
    const body = Buffer.from(notificationToPublish(notification, this.options.payloadMaxBytes).json);
    await failpoint(failpoints.committed, async () => {});
    const envelope = {
      messageId: id,
      type: NOTIFICATION_TYPE,
      gid: assertGid(gid),
      scheme: SCHEME,
      traceparent: currentTraceparent() ?? undefined,
    };
    const queue = notifyQueueOf(this.options.service);
    await this.queueWatch.use({ name: queue, kind: NOTIFY_QUEUE_KIND, scheme: SCHEME });
    await failpoint(failpoints.published, () =>
      this.broker.publisher.publish(queue, body, envelope, { kind: NOTIFY_QUEUE_KIND }),
    );
  }
}

/** The checked message to the notification service. @throws DtxError as `Notifications.publish` */
export function notificationToPublish(
  { id, gid, type, at, target = undefined, data }: Notification,
  bytesMax: number,
): Sendable<object> {
  const message = { id, gid, type, target: target ?? null, payload: { type, timestamp: at, data } };
  const misfit = `notification ${JSON.stringify(id)} does not fit ${NOTIFICATION_TYPE}`;
  const subject = { whole: 'notification', misfit, option: 'payloadMaxBytes' } as const;
  return checkedJson(subject, notificationToSend, message, bytesMax);
}
