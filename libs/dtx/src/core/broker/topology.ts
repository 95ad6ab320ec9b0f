import type { Options } from 'amqplib';

/**
 * Durable classic queues for the work of the local message table: the sender's row is the truth and is resent until
 * it is receipted, so a queue that is lost with its node costs a resend and not a message.
 */
const WORK_QUEUE: Options.AssertQueue = { durable: true };

/** The queue of one process, gone with its connection: for messages that only this process waits for. */
const PROCESS_QUEUE: Options.AssertQueue = { exclusive: true, autoDelete: true, durable: false };

/** Whether a name is of the form `dtx.<app>.<purpose>.<uuid>`. Only its owner may declare such a queue. */
export function isProcessQueue(queue: string): boolean {
  return /^dtx\.[a-z][a-z0-9-]{0,31}\.[a-z][a-z0-9-]*\.[0-9a-f-]{36}$/.test(queue);
}

/** From RabbitMQ 4.0 on a quorum queue drops a message after 20 deliveries unless it is told another number. */
const DELIVERIES_MAX = 1_000_000;

/**
 * `work`: durable classic. `replicated`: a quorum queue, for messages that no row at the sender would send again: a
 * confirm means that a majority of the nodes has it on disk. `replicated-if-new`: the same, for a queue that an earlier
 * version has declared as another kind. Where that one is there it is used as it is.
 */
export type QueueKind = 'work' | 'replicated' | 'replicated-if-new' | WaitingQueue;

/**
 * Holds messages for a time, then hands them to another queue. The time belongs to the queue (a time per message would
 * wait behind a longer one, as only the head of a queue expires) and so has to be part of its name: RabbitMQ refuses to
 * declare a queue again with another one. Handed over at least once, and while the other queue is missing they stay: a
 * publish is refused rather than an old message dropped.
 */
export interface WaitingQueue {
  readonly ttlMs: number;
  readonly expiredTo: string;
}

/**
 * What a queue is declared with. Both sides declare it from its name and kind, so that they cannot disagree and the order
 * of their starts does not matter.
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
