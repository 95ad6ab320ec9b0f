import { type ChannelModel, type ConfirmChannel, connect, type Options } from 'amqplib';
import { until } from './until.js';
import type { World } from './world.js';

export interface Receipt {
  messageId: string;
  consumer: string;
  outcome: 'HANDLED' | 'PARKED';
}

/** Publishes into any queue of a world, with publisher confirms, and hears the receipts as a sender does. */
export class QueueProbe {
  /** Messages that `send` has published. */
  published = 0;
  private readonly replyQueues: string[] = [];

  constructor(
    private readonly connection: ChannelModel,
    private readonly channel: ConfirmChannel,
  ) {}

  static async open<Probe extends QueueProbe>(
    this: new (
      connection: ChannelModel,
      channel: ConfirmChannel,
    ) => Probe,
    world: World,
  ): Promise<Probe> {
    const connection = await connect(world.rabbitmq);
    return new this(connection, await connection.createConfirmChannel());
  }

  /** Declares a plain durable queue, as an administrator might. */
  async declare(queue: string): Promise<void> {
    await this.channel.assertQueue(queue, { durable: true });
  }

  /** Publishes into a queue that exists. @throws if it does not */
  async send(queue: string, body: Buffer, properties: Options.Publish): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const fail = () => reject(new Error(`there is no queue ${queue}`));
      this.channel.once('return', fail);
      this.channel.publish('', queue, body, { persistent: true, mandatory: true, ...properties }, (error) => {
        this.channel.off('return', fail);
        if (error) reject(error);
        else resolve();
      });
    });
    this.published++;
  }

  /** Publishes as soon as the queue exists. An app declares its queues a moment after it is ready. */
  async publish(queue: string, body: string | Buffer, properties: Options.Publish = {}): Promise<void> {
    await until(`there is a queue ${queue}`, async () => {
      let isReturned = false;
      const returned = () => (isReturned = true);
      this.channel.once('return', returned);
      this.channel.sendToQueue(queue, Buffer.from(body), { persistent: true, mandatory: true, ...properties });
      await this.channel.waitForConfirms();
      this.channel.off('return', returned);
      return !isReturned;
    });
  }

  /**
   * Publishes, and waits for the receipt. Each delivery has a receipt queue of its own, because a receipt may come late,
   * when a person settles the row.
   */
  async deliver(queue: string, body: string | Buffer, properties: Options.Publish = {}): Promise<Receipt> {
    const replyTo = `dtx.probe-${this.replyQueues.length}.receipts.v1`;
    this.replyQueues.push(replyTo);
    const receipts: Receipt[] = [];
    await this.channel.assertQueue(replyTo, { durable: true });
    await this.channel.consume(replyTo, (message) => {
      if (!message) return;
      receipts.push(...JSON.parse(message.content.toString()).receipts);
      this.channel.ack(message);
    });
    await this.publish(queue, body, { ...properties, replyTo });
    return until(`a receipt from ${queue}`, () => receipts[0]);
  }

  /** Messages that wait in a queue for a consumer. */
  async waiting(queue: string): Promise<number> {
    return (await this.channel.checkQueue(queue)).messageCount;
  }

  async close(): Promise<void> {
    for (const queue of this.replyQueues) await this.channel.deleteQueue(queue);
    await this.connection.close();
  }
}
