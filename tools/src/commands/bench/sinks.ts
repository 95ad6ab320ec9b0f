// Consumers of the rows of a bench, without a database: they answer with receipts at once (docs/wire.md).
import {
  type ChannelModel,
  type ConfirmChannel,
  type ConsumeMessage,
  connect,
  type Message,
  type Options,
} from 'amqplib';
import { SINKS } from './outbox-rows.js';

const PREFETCH = 500;
const RECEIPTS = 100;
const RECEIPT_DELAY_MS = 20;

export type QueueType = 'quorum' | 'classic';

const END = { quorum: '.v1.quorum', classic: '.v1' };
/** As the apps declare them (docs/wire.md). The apps of a bench use quorum queues, the default. */
const HOW = {
  quorum: { durable: true, arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 1_000_000 } },
  classic: { durable: true },
};

export const queueOfSink = (sink: string, type: QueueType = 'quorum') => `dtx.${sink}${END[type]}`;

/** Declares the queues, empty and without consumers. */
export async function declareSinks(channel: ConfirmChannel, type: QueueType = 'quorum'): Promise<void> {
  for (const sink of SINKS) {
    await channel.assertQueue(queueOfSink(sink, type), HOW[type]);
    await channel.purgeQueue(queueOfSink(sink, type));
  }
}

export class Sinks {
  private waiting: ConsumeMessage[] = [];
  private timer: NodeJS.Timeout | undefined;
  private isStopped = false;

  private constructor(
    private readonly connection: ChannelModel,
    private readonly channel: ConfirmChannel,
  ) {}

  static async start(url: string): Promise<Sinks> {
    const connection = await connect(url);
    const sinks = new Sinks(connection, await connection.createConfirmChannel());
    await declareSinks(sinks.channel);
    sinks.channel.on('return', (receipts: Message) => sinks.publishLater(receipts));
    await sinks.channel.prefetch(PREFETCH);
    for (const sink of SINKS)
      await sinks.channel.consume(queueOfSink(sink), (message) => message && sinks.take(message));
    return sinks;
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.connection.close();
  }

  private take(message: ConsumeMessage): void {
    this.waiting.push(message);
    if (this.waiting.length >= RECEIPTS) this.answer();
    else this.timer ??= setTimeout(() => this.answer(), RECEIPT_DELAY_MS);
  }

  private answer(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const messages = this.waiting;
    this.waiting = [];
    if (messages.length === 0) return;
    const receipts = messages.map(({ properties, fields }) => ({
      messageId: properties.messageId,
      consumer: fields.routingKey.replace(/^dtx\.|\.v1(\.quorum)?$/g, ''),
      outcome: 'HANDLED',
    }));
    const properties = { type: 'dtx.receipt.v1', messageId: receipts[0]!.messageId };
    this.publish(messages[0]!.properties.replyTo, Buffer.from(JSON.stringify({ receipts })), properties);
    for (const message of messages) this.channel.ack(message);
  }

  private publish(queue: string, body: Buffer, properties: Options.Publish): void {
    if (!this.isStopped) this.channel.sendToQueue(queue, body, { ...properties, persistent: true, mandatory: true });
  }

  /** An app that starts sends before its queue of receipts exists. A lost receipt would cost a resend after a minute. */
  private publishLater({ fields, content, properties: { type, messageId } }: Message): void {
    setTimeout(() => this.publish(fields.routingKey, content, { type, messageId }), RECEIPT_DELAY_MS);
  }
}
