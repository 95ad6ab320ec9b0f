import type { ConfirmChannel, Options, Replies } from 'amqplib';
import { queueOf, receiptQueueOf } from './contract.js';

/**
 * Durable classic queues for the work of the local message table: the sender's row is the truth and is resent until
 * it is receipted, so a queue that is lost with its node costs a resend and not a message.
 */
const WORK_QUEUE: Options.AssertQueue = { durable: true };

/** The queue of one process, gone with its connection: answers to calls that only this process waits for. */
const ANSWER_QUEUE: Options.AssertQueue = { exclusive: true, autoDelete: true, durable: false };

/** Only its owner may declare an answer queue; to everybody else it is there or it is not. */
export function isAnswerQueue(queue: string): boolean {
  return /^dtx\.[a-z][a-z0-9-]{0,31}\.tcc-answers\.[0-9a-f-]{36}$/.test(queue);
}

/**
 * `work`: durable classic. `replicated`: a quorum queue, for messages that no row at the sender will send again; a
 * confirm means that a majority has it. The delivery limit is set high: from RabbitMQ 4.0 on the default of 20 would drop.
 */
export type QueueKind = 'work' | 'replicated' | WaitingQueue;

/**
 * Holds copies for a time and hands them to another queue when it ends: queue-level TTL (a TTL per message would wait
 * behind a longer one), at-least-once dead lettering, and a publish is refused rather than an old copy dropped.
 */
export interface WaitingQueue {
  readonly ttlMs: number;
  readonly expiredTo: string;
}

function argumentsOf(queue: string, kind: QueueKind): Options.AssertQueue {
  if (isAnswerQueue(queue)) return ANSWER_QUEUE;
  if (kind === 'work') return WORK_QUEUE;
  const quorum = { 'x-queue-type': 'quorum' };
  if (kind === 'replicated') return { durable: true, arguments: { ...quorum, 'x-delivery-limit': 1_000_000 } };
  return {
    durable: true,
    arguments: {
      ...quorum,
      'x-message-ttl': kind.ttlMs,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': kind.expiredTo,
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
    },
  };
}

/** Both sides declare a queue from its name and kind, so that they cannot disagree and start order does not matter. */
export function declareQueue(
  channel: Pick<ConfirmChannel, 'assertQueue'>,
  queue: string,
  kind: QueueKind = 'work',
): Promise<Replies.AssertQueue> {
  return channel.assertQueue(queue, argumentsOf(queue, kind));
}

export { queueOf, receiptQueueOf };
