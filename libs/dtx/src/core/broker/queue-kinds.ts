import type { Options } from 'amqplib';

/**
 * Durable classic queues for the local message table. The row of the sender is authoritative and is resent until its
 * receipt arrives. A queue that is lost with its node costs a resend and not a message.
 */
const WORK_QUEUE: Options.AssertQueue = { durable: true };

/** The exclusive queue of one process, deleted with its connection. For messages that only this process waits for. */
const PROCESS_QUEUE: Options.AssertQueue = { exclusive: true, autoDelete: true, durable: false };

/** Whether a name has the form `<prefix>.<app>.<purpose>.<uuid>`. Only its owner may declare such a queue. */
export function isProcessQueue(queue: string): boolean {
  return /^[a-z][a-z0-9-]*\.[a-z][a-z0-9-]{0,31}\.[a-z][a-z0-9-]*\.[0-9a-f-]{36}$/.test(queue);
}

/** The delivery limit. From RabbitMQ 4.0 on, a quorum queue drops a message after 20 deliveries by default. */
const DELIVERIES_MAX = 1_000_000;

/**
 * `work`: durable classic queue. `replicated`: quorum queue, for messages that no row at the sender would send again.
 * Its publisher confirm means that a majority of the nodes has stored the message on disk. `replicated-if-new`: the
 * same, for a queue that an earlier version declared as another type. An existing queue is used as it is.
 */
export type QueueKind = 'work' | 'replicated' | 'replicated-if-new' | WaitingQueue;

/**
 * Delays messages, then dead-letters them to another queue. The delay is a property of the queue, because only the head
 * of a queue expires. It is part of the queue name, because RabbitMQ rejects a declaration with another delay.
 * Dead-lettering is at-least-once. While the target queue is missing, the messages stay, and the broker rejects a
 * publish rather than dropping an old message.
 */
export interface WaitingQueue {
  readonly ttlMs: number;
  readonly expiredTo: string;
}

/**
 * The declaration arguments of a queue. Both sides derive them from name and kind, so they always agree and their start
 * order does not matter.
 */
export function argumentsOf(queue: string, kind: QueueKind): Options.AssertQueue {
  if (isProcessQueue(queue)) return PROCESS_QUEUE;
  if (kind === 'work') return WORK_QUEUE;
  const quorum = { 'x-queue-type': 'quorum' };
  if (kind === 'replicated' || kind === 'replicated-if-new')
    return { durable: true, arguments: { ...quorum, 'x-delivery-limit': DELIVERIES_MAX } };
  const waiting = {
    'x-message-ttl': kind.ttlMs,
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': kind.expiredTo,
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
  };
  return { durable: true, arguments: { ...quorum, ...waiting } };
}
