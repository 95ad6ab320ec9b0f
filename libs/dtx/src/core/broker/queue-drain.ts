import type { Channel, GetMessage } from 'amqplib';
import { BrokerUnavailable } from '../errors/errors.js';
import { within } from './broker-step-timeout.js';
import { leave } from './closing-channel.js';
import type { BrokerConnection } from './connection.js';
import type { ConsumerOptions } from './consumer-options.js';
import type { Delivery } from './queue-consumer.js';
import type { Queues } from './queue-declarations.js';
import { meaningOf } from './refusal.js';

/**
 * Takes the messages that wait in a queue, at most `prefetch` at once, until the queue is empty or `until` is aborted. A
 * message whose handling fails stays in the queue for a later call. If the process dies, the broker redelivers every
 * unacknowledged message. Resolves to the number of acknowledged messages.
 * @throws QueueRefused; BrokerUnavailable; the first error of `handle`
 */
export async function drainQueue(
  { connection, queues }: { connection: BrokerConnection; queues: Queues },
  { queue: name, kind, isOptional, prefetch, limitMs }: ConsumerOptions,
  handle: (delivery: Delivery) => Promise<void>,
  until: AbortSignal,
): Promise<number> {
  const { names } = connection;
  const queue = names.onWire(name, kind);
  const what = `cannot take messages from queue ${queue}`;
  if (isOptional && !(await queues.find(queue, kind))) return 0;
  if (!isOptional) await queues.inspect(queue, kind);
  if (!connection.open) throw new BrokerUnavailable(`${what}: ${connection.problem}`);
  const opening = connection.open.createChannel();
  const channel = await within(limitMs, what, opening).catch((error) => {
    void opening.then(leave, () => {});
    throw meaningOf(error, { what, queue, right: 'read' });
  });
  const lost = new AbortController();
  const lose = () => lost.abort();
  channel.on('error', () => {});
  channel.once('close', lose);
  until.addEventListener('abort', lose, { once: true });
  let acked = 0;
  const deliveryOf = (message: GetMessage): Delivery => ({
    message: names.received(asDelivered(message)),
    lost: lost.signal,
    ack: () => {
      if (lost.signal.aborted) return;
      channel.ack(message);
      acked++;
    },
  });
  try {
    for (let isMore = true; isMore && !until.aborted && !lost.signal.aborted; ) {
      const taken = await take(channel, queue, { prefetch, limitMs, what });
      isMore = taken.length === prefetch;
      const ends = await Promise.allSettled(taken.map((message) => handle(deliveryOf(message))));
      for (const end of ends) if (end.status === 'rejected') throw end.reason;
    }
  } finally {
    until.removeEventListener('abort', lose);
    // Closing the channel returns unacknowledged messages to the queue.
    leave(channel);
  }
  return acked;
}

async function take(
  channel: Channel,
  queue: string,
  { prefetch, limitMs, what }: { prefetch: number; limitMs: number; what: string },
): Promise<GetMessage[]> {
  const taken: GetMessage[] = [];
  while (taken.length < prefetch) {
    const message = await within(limitMs, what, channel.get(queue)).catch((error) => {
      throw meaningOf(error, { what, queue, right: 'read' });
    });
    if (!message) break;
    taken.push(message);
  }
  return taken;
}

/** A message that was asked for has no consumer tag. Nothing of the library reads the tag. */
function asDelivered({ fields, ...rest }: GetMessage): Delivery['message'] {
  return { ...rest, fields: { ...fields, consumerTag: '' } } as Delivery['message'];
}
