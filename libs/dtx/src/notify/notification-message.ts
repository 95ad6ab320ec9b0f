// The message from the apps to the notification service: its schema and its queue (docs/wire.md).
import { types } from 'node:util';
import { z } from 'zod';
import { queueOf, reserveConsumers } from '../core/broker/message-contract.js';

export const NOTIFICATION_TYPE = 'dtx.notification.v1';

/** Schema of the message that the notification service consumes. */
export const notificationBody = z.object({
  id: z.string().regex(/^[0-9A-Za-z_.:-]{1,64}$/),
  gid: z.string().regex(/^[0-9A-Za-z_.:-]{1,64}$/),
  type: z.string().min(1).max(100),
  target: z.string().max(2_048).nullable(),
  payload: z.object({ type: z.string(), timestamp: z.iso.datetime(), data: z.record(z.string(), z.unknown()) }),
});

/**
 * The publisher keeps no row, so the queue must survive a node and must not drop messages at a delivery limit. Earlier
 * versions declared a classic queue, which stays as it is until an operator deletes it.
 */
export const NOTIFY_QUEUE_KIND = 'replicated-if-new';
const timeOf = (at: unknown) => (types.isDate(at) && !Number.isNaN(at.getTime()) ? at.toISOString() : at);

/** Schema of the message before it is sent, with a `Date` as its time. */
export const notificationToSend = notificationBody.extend({
  payload: notificationBody.shape.payload.extend({ timestamp: z.preprocess(timeOf, z.iso.datetime()) }),
});

reserveConsumers(/^notify$/);

/** The queue of the notification service of an app. */
export function notifyQueueOf(service: string): string {
  return queueOf(`${service}.notify`, 1);
}
