// Messages with amqplib alone: quorum queues, publisher confirms, and an ack after the work.
import { type ConfirmChannel, connect, type Options } from 'amqplib';

export class Broker {
  private constructor(private readonly channel: ConfirmChannel) {}

  static async open(url: string): Promise<Broker> {
    return new Broker(await (await connect(url)).createConfirmChannel());
  }

  async declare(queues: readonly string[]): Promise<void> {
    for (const queue of queues)
      await this.channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
  }

  /** Declares a queue of this process, which ends with its connection. Returns its name. */
  async declareOwn(): Promise<string> {
    return (await this.channel.assertQueue('', { exclusive: true, autoDelete: true, durable: false })).queue;
  }

  /** Acknowledges each message after `receive`. Await this before the next one: a prefetch is that of the next consumer. */
  async consume<Body>(
    queue: string,
    prefetch: number,
    receive: (body: Body, replyTo: string) => Promise<void>,
  ): Promise<void> {
    await this.channel.prefetch(prefetch);
    await this.channel.consume(queue, (message) => {
      if (!message) return;
      const body = JSON.parse(message.content.toString()) as Body;
      receive(body, message.properties.replyTo).then(() => this.channel.ack(message), exit);
    });
  }

  /** Resolves with the publisher confirm. */
  publish(queue: string, body: unknown, options: Options.Publish = { persistent: true }): Promise<void> {
    return new Promise((resolve, reject) => {
      const answer = (error: unknown) => (error ? reject(error) : resolve());
      this.channel.sendToQueue(queue, Buffer.from(JSON.stringify(body)), options, answer);
    });
  }
}

/** A measurement with an error is none. */
export function exit(error: unknown): never {
  console.error(error);
  process.exit(1);
}
