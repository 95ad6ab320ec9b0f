import type { Channel, ChannelModel, Options, Replies } from 'amqplib';

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

/** As AMQP numbers it. */
const NOT_FOUND = 404;
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

function argumentsOf(kind: Exclude<QueueKind, 'replicated-if-new'>): Options.AssertQueue {
  if (kind === 'work') return WORK_QUEUE;
  const quorum = { 'x-queue-type': 'quorum' };
  if (kind === 'replicated') return { durable: true, arguments: { ...quorum, 'x-delivery-limit': DELIVERIES_MAX } };
  const waiting = {
    'x-message-ttl': kind.ttlMs,
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': kind.expiredTo,
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
  };
  return { durable: true, arguments: { ...quorum, ...waiting } };
}

/** A channel and the connection that it is on. */
export interface OpenChannel {
  readonly connection: ChannelModel;
  readonly channel: Pick<Channel, 'assertQueue'>;
}

/** Both sides declare a queue from its name and kind, so that they cannot disagree and start order does not matter. */
export async function declareQueue(
  { connection, channel }: OpenChannel,
  queue: string,
  kind: QueueKind = 'work',
): Promise<Replies.AssertQueue> {
  if (kind === 'replicated-if-new')
    return (await found(connection, queue)) ?? channel.assertQueue(queue, argumentsOf('replicated'));
  return channel.assertQueue(queue, isAnswerQueue(queue) ? ANSWER_QUEUE : argumentsOf(kind));
}

/** What is there under a name; null when nothing is. On a channel of its own, which the broker closes for asking in vain. */
export async function found(connection: ChannelModel, queue: string): Promise<Replies.AssertQueue | null> {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  try {
    return await channel.checkQueue(queue);
  } catch (error) {
    if ((error as { code?: unknown }).code === NOT_FOUND) return null;
    throw error;
  } finally {
    await channel.close().catch(() => {});
  }
}
