import type { ConfirmChannel, Options, Replies } from 'amqplib';

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

/** Both sides declare a queue from its name alone, so that they cannot disagree and start order does not matter. */
export function declareQueue(
  channel: Pick<ConfirmChannel, 'assertQueue'>,
  queue: string,
): Promise<Replies.AssertQueue> {
  return channel.assertQueue(queue, isAnswerQueue(queue) ? ANSWER_QUEUE : WORK_QUEUE);
}
