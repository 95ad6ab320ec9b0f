// RabbitMQ as a careful user of an in-process outbox adds it: durable queues, persistent messages, publisher confirms.
import { type ChannelModel, connect } from 'amqplib';
import { type Purchase } from '../purchase.js';

const PREFETCH = 64;
/** The kind of queue that the shop has by default. */
const DURABLE = { durable: true, arguments: { 'x-queue-type': 'quorum' } };

export interface Publisher {
  /** Resolves when the broker has confirmed the message for every queue. */
  publish(queues: readonly string[], purchase: Purchase): Promise<void>;
}

export async function connected(url: string, queues: readonly string[]): Promise<ChannelModel> {
  const connection = await connect(url);
  const channel = await connection.createChannel();
  for (const queue of queues) await channel.assertQueue(queue, DURABLE);
  await channel.close();
  return connection;
}

export async function publisherOn(connection: ChannelModel): Promise<Publisher> {
  const channel = await connection.createConfirmChannel();
  const confirmed = (queue: string, body: Buffer) =>
    new Promise<void>((resolve, reject) => {
      channel.sendToQueue(queue, body, { persistent: true, mandatory: true }, (error) =>
        error ? reject(error) : resolve(),
      );
    });
  return {
    publish: async (queues, purchase) => {
      const body = Buffer.from(JSON.stringify(purchase));
      await Promise.all(queues.map((queue) => confirmed(queue, body)));
    },
  };
}

/** A failed delivery goes back to its queue. */
export async function consume(
  connection: ChannelModel,
  queue: string,
  handle: (purchase: Purchase) => Promise<void>,
): Promise<void> {
  const channel = await connection.createChannel();
  await channel.prefetch(PREFETCH);
  await channel.consume(queue, async (message) => {
    if (!message) return;
    try {
      await handle(JSON.parse(message.content.toString()) as Purchase);
      channel.ack(message);
    } catch (error) {
      console.error(`${queue}: ${(error as Error).message}`);
      channel.nack(message);
    }
  });
}
