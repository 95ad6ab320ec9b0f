import { type ChannelModel, type ConfirmChannel, connect, type Options } from 'amqplib';
import { until } from './until.js';
import type { World } from './world.js';

export interface Receipt {
  messageId: string;
  consumer: string;
  outcome: 'HANDLED' | 'PARKED';
}

/** Anyone may write to a queue: this does, and hears the receipts as a sender would. */
export class QueueProbe {
  private readonly replyQueues: string[] = [];
  private constructor(
    private readonly connection: ChannelModel,
    private readonly channel: ConfirmChannel,
  ) {}

  static async open(world: World): Promise<QueueProbe> {
    const connection = await connect(world.rabbitmq);
    return new QueueProbe(connection, await connection.createConfirmChannel());
  }

  /** Until the queue is there to take it: an app declares its queues in a moment after it is ready. */
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
   * Publishes, and waits for what its receiver makes of it. Each delivery has a receipt queue of its own: a receipt
   * that comes late, when a person settles the row, belongs to the delivery that made the row.
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
