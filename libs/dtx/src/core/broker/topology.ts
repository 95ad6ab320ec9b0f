import type { ConfirmChannel, Options, Replies } from 'amqplib';
import { queueOf, receiptQueueOf } from './contract.js';

/**
 * Durable classic queues for the work of the local message table: the sender's row is the truth and is resent until
 * it is receipted, so a queue that is lost with its node costs a resend and not a message.
 */
const WORK_QUEUE: Options.AssertQueue = { durable: true };

/** What a queue must be declared with; both sides derive it from the name alone, so that they cannot disagree. */
export function declareQueue(
  channel: Pick<ConfirmChannel, 'assertQueue'>,
  queue: string,
): Promise<Replies.AssertQueue> {
  return channel.assertQueue(queue, WORK_QUEUE);
}

export { queueOf, receiptQueueOf };
