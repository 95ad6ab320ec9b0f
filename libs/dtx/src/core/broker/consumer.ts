import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib';
import { textOf } from '../errors.js';
import type { BrokerConnection } from './connection.js';
import { declareQueue, type QueueKind } from './topology.js';

/** One delivery, bound to the channel that brought it. */
export interface Delivery {
  readonly message: ConsumeMessage;
  /** Aborted when the channel is gone or the consumer drains out of time: the broker will deliver it again. */
  readonly lost: AbortSignal;
  ack(): void;
}

export interface ConsumerOptions {
  readonly queue: string;
  readonly prefetch: number;
  readonly kind: QueueKind;
}

const RETRY_MS = 500;

/**
 * Consumes one queue for as long as the process lives: re-attached after a lost connection, a closed channel or a
 * cancel by the broker (the queue was deleted). Acks are bound to the channel of their delivery: delivery tags mean
 * nothing on another one.
 */
export class QueueConsumer {
  private readonly logger = new Logger('Consumer');
  private readonly inWork = new Set<Promise<void>>();
  private channel: Channel | undefined;
  private tag: string | undefined;
  private stopped = true;
  private attaching = false;

  constructor(
    private readonly connection: BrokerConnection,
    private readonly options: ConsumerOptions,
    private readonly handle: (delivery: Delivery) => Promise<void>,
  ) {}

  /** Whether the queue is there and the broker delivers from it now. */
  get isAttached(): boolean {
    return this.tag !== undefined;
  }

  /** Deliveries that are being handled now. */
  get busy(): number {
    return this.inWork.size;
  }

  start(current: ChannelModel | undefined): void {
    this.stopped = false;
    this.connection.on('up', this.attach);
    if (current) void this.attach(current);
  }

  /** Takes no more, waits for what is in work (bounded), then closes the channel: the rest is delivered again. */
  async stop(drainMs: number): Promise<void> {
    this.stopped = true;
    this.connection.off('up', this.attach);
    const channel = this.channel;
    if (!channel) return;
    if (this.tag) await channel.cancel(this.tag).catch(() => {});
    const done = Promise.allSettled(this.inWork);
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([done, new Promise((resolve) => (timer = setTimeout(resolve, drainMs)))]);
    clearTimeout(timer);
    await channel.close().catch(() => {});
  }

  private readonly attach = async (connection: ChannelModel): Promise<void> => {
    if (this.stopped || this.attaching) return;
    this.attaching = true;
    try {
      const channel = await connection.createChannel();
      const lost = new AbortController();
      channel.on('error', (error) => this.logger.warn(`${this.options.queue}: ${error.message}`));
      channel.once('close', () => this.detach(channel, lost, connection));
      await channel.prefetch(this.options.prefetch);
      await declareQueue({ connection, channel }, this.options.queue, this.options.kind);
      this.channel = channel;
      const { consumerTag } = await channel.consume(this.options.queue, (message) => {
        if (message) this.take(channel, lost.signal, message);
        else void channel.close().catch(() => {}); // cancelled by the broker: begin anew
      });
      this.tag = consumerTag;
    } catch (error) {
      if (this.connection.isUp) this.logger.warn(`cannot consume ${this.options.queue}: ${textOf(error)}`);
      this.retryLater(connection);
    } finally {
      this.attaching = false;
    }
  };

  private detach(channel: Channel, lost: AbortController, connection: ChannelModel): void {
    lost.abort();
    if (this.channel !== channel) return;
    this.channel = undefined;
    this.tag = undefined;
    this.retryLater(connection);
  }

  /** Only while this very connection lives; a new one announces itself. */
  private retryLater(connection: ChannelModel): void {
    if (this.stopped) return;
    setTimeout(() => {
      if (this.connection.isCurrent(connection) && !this.channel) void this.attach(connection);
    }, RETRY_MS);
  }

  /** Not handled and not stored either: back to the broker, after a moment so that it cannot spin. */
  private async giveBack(channel: Channel, { message, lost }: Delivery, error: unknown): Promise<void> {
    if (lost.aborted) return;
    this.logger.warn(`${this.options.queue}: given back: ${textOf(error)}`);
    await sleep(RETRY_MS, undefined, { signal: lost }).catch(() => {});
    if (!lost.aborted) channel.nack(message, false, true);
  }

  private take(channel: Channel, lost: AbortSignal, message: ConsumeMessage): void {
    const delivery: Delivery = {
      message,
      lost,
      ack: () => {
        if (!lost.aborted) channel.ack(message);
      },
    };
    const running: Promise<void> = this.handle(delivery)
      .catch((error) => this.giveBack(channel, delivery, error))
      .finally(() => this.inWork.delete(running));
    this.inWork.add(running);
  }
}
