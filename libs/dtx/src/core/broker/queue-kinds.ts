import type { Options } from 'amqplib';

/**
 * The end of the name of a quorum queue whose classic predecessor has the rest of the name. The name tells the type, so
 * each program that knows the name can declare the queue.
 */
export const QUORUM_SUFFIX = '.quorum';

/** Lives on one node. While that node is down, RabbitMQ refuses to declare the queue, on every node of the cluster. */
const CLASSIC_QUEUE: Options.AssertQueue = { durable: true };

/** The exclusive queue of one process, deleted with its connection. For messages that only this process waits for. */
const PROCESS_QUEUE: Options.AssertQueue = { exclusive: true, autoDelete: true, durable: false };

/** Whether a name has the form `<prefix>.<app>.<purpose>.<uuid>`. Only its owner may declare such a queue. */
export function isProcessQueue(queue: string): boolean {
  return /^[a-z][a-z0-9-]*\.[a-z][a-z0-9-]{0,31}\.[a-z][a-z0-9-]*\.[0-9a-f-]{36}$/.test(queue);
}

/** The delivery limit. From RabbitMQ 4.0 on, a quorum queue drops a message after 20 deliveries by default. */
const DELIVERIES_MAX = 1_000_000;

/**
 * `work`: of the type that option `queues` names, see `QueueNames`. `replicated`: always a quorum queue, for messages that
 * no row at the sender would send again. Its publisher confirm means that a majority of the nodes has stored the message on
 * disk. `replicated-if-new`: as `work`, and where the option says classic, an existing queue is used as it is, because
 * earlier versions declared it as either type. `named`: a queue that another program has named. The name tells its type.
 */
export type QueueKind = 'work' | 'replicated' | 'replicated-if-new' | 'named' | WaitingQueue;

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
 * The declaration arguments of a queue, by its name on the wire. Both sides derive them from name and kind, so they
 * always agree and their start order does not matter.
 */
export function argumentsOf(queue: string, kind: QueueKind): Options.AssertQueue {
  if (isProcessQueue(queue)) return PROCESS_QUEUE;
  const isByName = kind === 'work' || kind === 'named';
  if (isByName && !queue.endsWith(QUORUM_SUFFIX)) return CLASSIC_QUEUE;
  const quorum = { 'x-queue-type': 'quorum' };
  if (typeof kind === 'string') return { durable: true, arguments: { ...quorum, 'x-delivery-limit': DELIVERIES_MAX } };
  const waiting = {
    'x-message-ttl': kind.ttlMs,
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': kind.expiredTo,
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
  };
  return { durable: true, arguments: { ...quorum, ...waiting } };
}
