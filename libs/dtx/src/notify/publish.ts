// Step 1 of 5 - publish: a committed result is given to the broker before the step that it belongs to is ended.
import { types } from 'node:util';
import { Inject, Injectable } from '@nestjs/common';
import { z } from 'zod';
import { Broker } from '../core/broker/broker.service.js';
import { queueOf, reserveConsumers } from '../core/broker/contract.js';
import { checkedJson } from '../core/broker/payload.js';
import { QueueWatch } from '../core/durable/queue-watch.js';
import { failpoint } from '../core/failpoint.js';
import { assertGid } from '../core/ids.js';
import type { CoreOptions } from '../core/options.js';
import { CORE_OPTIONS } from '../core/tokens.js';
import { currentTraceparent } from '../core/trace.js';
import { failpoints, SCHEME } from './failpoints.js';
import { NOTIFY_OPTIONS, type NotifyOptions } from './options.js';

export const NOTIFICATION_TYPE = 'dtx.notification.v1';

/** What somebody outside is to be told. */
export interface Notification {
  /** The event's own id, the same for every repetition of it: 1 to 64 of [0-9A-Za-z_.:-]. Goes out as `webhook-id`. */
  readonly id: string;
  readonly gid: string;
  /** Like `payment.captured`. */
  readonly type: string;
  /** When it happened. */
  readonly at: Date;
  /** An http(s) URL; the service's default target when it is missing. */
  readonly target?: string | undefined;
  readonly data: object;
}

/** The message as the notification service gets it. */
export const notificationBody = z.object({
  id: z.string().regex(/^[0-9A-Za-z_.:-]{1,64}$/),
  gid: z.string().regex(/^[0-9A-Za-z_.:-]{1,64}$/),
  type: z.string().min(1).max(100),
  target: z.string().max(2_048).nullable(),
  payload: z.object({ type: z.string(), timestamp: z.iso.datetime(), data: z.record(z.string(), z.unknown()) }),
});

/**
 * No row at its publisher would send a notification again, so its queue outlives a node and drops nothing, however often
 * the service dies with it. Versions before declared a classic queue, which stays one until somebody deletes it.
 */
export const NOTIFY_QUEUE_KIND = 'replicated-if-new';
const timeOf = (at: unknown) => (types.isDate(at) && !Number.isNaN(at.getTime()) ? at.toISOString() : at);

/** The same before it is sent: its time as the caller has it. */
const notificationToSend = notificationBody.extend({
  payload: notificationBody.shape.payload.extend({ timestamp: z.preprocess(timeOf, z.iso.datetime()) }),
});

reserveConsumers(/^notify$/);

/** Where the notification service of an app takes what is to be told. */
export function notifyQueueOf(service: string): string {
  return queueOf(`${service}.notify`, 1);
}

/** Publishes results for the notification service (seed: 最大努力通知 1). */
@Injectable()
export class Notifications {
  constructor(
    private readonly broker: Broker,
    private readonly queueWatch: QueueWatch,
    @Inject(CORE_OPTIONS) private readonly core: CoreOptions,
    @Inject(NOTIFY_OPTIONS) private readonly options: NotifyOptions,
  ) {}

  /** Whether a notification has anywhere to go, its own target given or not; otherwise publishing does nothing. */
  isFor(target: string | undefined): boolean {
    const { secrets, service, defaultTarget } = this.options;
    // Only the service itself knows its default target.
    return secrets.length > 0 && (target !== undefined || defaultTarget !== undefined || service !== this.core.app);
  }

  /**
   * Resolves once the broker has the notification; from then on its target will be told of it, or a person. Call it after
   * the commit of what is told, and before whatever ends the step that committed it: the ack of a message (`@BeforeAck`),
   * the answer of a TCC phase (`@Confirmed`), the done mark of an XA transaction. Call it again when that step is
   * repeated: the id makes it a duplicate.
   * @throws BrokerUnavailable when it is not known to be sent; DtxError when it is malformed, not JSON, or too large
   */
  async publish(notification: Notification): Promise<void> {
    const { id, gid, target } = notification;
    if (!this.isFor(target)) return;
    const body = this.bodyOf(notification);
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

  private bodyOf({ id, gid, type, at, target = undefined, data }: Notification): Buffer {
    const message = { id, gid, type, target: target ?? null, payload: { type, timestamp: at, data } };
    const misfit = `notification ${JSON.stringify(id)} does not fit ${NOTIFICATION_TYPE}`;
    const subject = { whole: 'notification', misfit, option: 'payloadMaxBytes' } as const;
    return Buffer.from(checkedJson(subject, notificationToSend, message, this.options.payloadMaxBytes).json);
  }
}
