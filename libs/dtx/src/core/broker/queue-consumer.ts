import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import type { Channel, ConsumeMessage } from 'amqplib';
import { type Backoff, backoffMs } from '../async/backoff.js';
import { BrokerUnavailable, textOf } from '../errors/errors.js';
import type { BrokerConnection } from './connection.js';
import { CLOSE_LIMIT_MS, within } from './limit.js';
import { leave, type Queues } from './queue-declarer.js';
import { meaningOf, QueueRefused } from './refusal.js';
import type { QueueKind } from './topology.js';

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
  /** How long each step of attaching may take, in milliseconds. */
  readonly limitMs: number;
}

const RETRY: Backoff = { firstMs: 500, factor: 2, capMs: 5_000 };
/** Pauses before the same message is given back for the first, second, ... time. */
const GIVE_BACK: Backoff = { firstMs: 500, factor: 2, capMs: 30_000 };
/** Messages whose give-backs are remembered. */
const GIVEN_BACK_MAX = 1_000;

/**
 * Consumes one queue for as long as the process lives: re-attached after a lost connection, a closed channel or a
 * cancel by the broker (the queue was deleted). Acks are bound to the channel of their delivery: delivery tags mean
 * nothing on another one.
 */
export class QueueConsumer {
  private readonly logger = new Logger('Consumer');
  private readonly inWork = new Set<Promise<void>>();
  /** How often each message was given back since it was acked. */
  private readonly givenBack = new Map<string, number>();
  private readonly stopping = new AbortController();
  private channel: Channel | undefined;
  private tag: string | undefined;
  private isStopped = true;
  private isAttaching = false;
  /** Why the last try to attach has failed. */
  private failure: string | undefined;
  private tries = 0;

  constructor(
    private readonly connection: BrokerConnection,
    private readonly queues: Queues,
    private readonly options: ConsumerOptions,
    private readonly handle: (delivery: Delivery) => Promise<void>,
  ) {}

  get queue(): string {
    return this.options.queue;
  }

  /** Whether the queue is there and the broker delivers from it now. */
  get isAttached(): boolean {
    return this.tag !== undefined;
  }

  /** Why the broker delivers nothing to it. Undefined while it does, and once it was stopped. */
  get problem(): string | undefined {
    if (this.isStopped || this.isAttached) return undefined;
    if (!this.connection.isUp) return 'no connection to RabbitMQ';
    return this.failure ?? 'not attached yet';
  }

  /** Deliveries that are being handled now. */
  get busy(): number {
    return this.inWork.size;
  }

  start(): void {
    this.isStopped = false;
    this.connection.on('up', this.attach);
    if (this.connection.isUp) void this.attach();
  }

  /** Takes no more, waits for what is in work (bounded), then closes the channel: the rest is delivered again. */
  async stop(drainMs: number): Promise<void> {
    this.isStopped = true;
    this.stopping.abort();
    this.connection.off('up', this.attach);
    const { channel, tag } = this;
    if (!channel) return;
    if (tag) await this.goodbye(() => channel.cancel(tag));
    const done = Promise.allSettled(this.inWork);
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([done, new Promise((resolve) => (timer = setTimeout(resolve, drainMs)))]);
    clearTimeout(timer);
    await this.goodbye(() => channel.close());
  }

  /** Not waited for for long, and not at all on a connection where another one has waited in vain. */
  private async goodbye(say: () => Promise<unknown>): Promise<void> {
    try {
      const said = say();
      await within(this.connection.isSilent ? 0 : CLOSE_LIMIT_MS, 'closing a channel', said);
    } catch (error) {
      // It ends with its connection. On a channel that is closed already there is nothing to say.
      if (error instanceof BrokerUnavailable) this.connection.isSilent = true;
    }
  }

  private readonly attach = async (): Promise<void> => {
    const connection = this.connection.open;
    if (this.isStopped || this.isAttaching || this.channel || !connection) return;
    this.isAttaching = true;
    const { queue, kind, limitMs } = this.options;
    const what = `cannot consume ${queue}`;
    try {
      // On another channel: a refusal closes that one. Not from memory of an earlier declaration: it may have been deleted.
      await this.queues.inspect(queue, kind);
      const opening = connection.createChannel();
      const channel = await within(limitMs, what, opening).catch((error) => {
        void opening.then(leave, () => {});
        throw error;
      });
      try {
        await this.consume(channel, what);
      } catch (error) {
        leave(channel);
        throw error;
      }
      this.failure = undefined;
      this.tries = 0;
    } catch (error) {
      this.fail(meaningOf(error, { what, queue, right: 'read' }));
    } finally {
      this.isAttaching = false;
    }
    // Stopped meanwhile: nobody else closes this channel.
    if (this.isStopped && this.channel) leave(this.channel);
    else if (!this.channel) this.retryLater();
  };

  private async consume(channel: Channel, what: string): Promise<void> {
    const { queue, prefetch, limitMs } = this.options;
    const lost = new AbortController();
    // While it is being attached the error is the answer to the step, too.
    channel.on('error', (error) => this.tag && this.logger.warn(`${queue}: ${error.message}`));
    channel.once('close', () => this.detach(channel, lost));
    await within(limitMs, what, channel.prefetch(prefetch));
    const consuming = channel.consume(queue, (message) => {
      if (message) return this.take(channel, lost.signal, message);
      // Cancelled by the broker: begin anew. Until it answers nothing may be acked here, or given back.
      this.detach(channel, lost);
      leave(channel);
    });
    const { consumerTag } = await within(limitMs, what, consuming);
    if (lost.signal.aborted) return;
    this.channel = channel;
    this.tag = consumerTag;
  }

  /** Each reason is told once. Only a refusal makes the next tries rarer: all else may pass at any moment. */
  private fail(error: Error): void {
    if (this.connection.isUp && this.failure !== error.message) this.logger.warn(error.message);
    this.failure = error.message;
    this.tries = error instanceof QueueRefused ? this.tries + 1 : 0;
  }

  private detach(channel: Channel, lost: AbortController): void {
    lost.abort();
    if (this.channel !== channel) return;
    this.channel = undefined;
    this.tag = undefined;
    this.retryLater();
  }

  /** Nothing to do without a connection: the next one announces itself. */
  private retryLater(): void {
    if (this.isStopped) return;
    setTimeout(() => void this.attach(), backoffMs(RETRY, Math.max(1, this.tries)));
  }

  /** Not handled and not stored either: back to the broker, after a pause that grows, so that it cannot spin. */
  private async giveBack(channel: Channel, { message, lost }: Delivery, error: unknown): Promise<void> {
    if (lost.aborted) return;
    const key = keyOf(message);
    const times = (this.givenBack.get(key) ?? 0) + 1;
    this.givenBack.delete(key);
    if (this.givenBack.size >= GIVEN_BACK_MAX) this.givenBack.delete(this.givenBack.keys().next().value!);
    this.givenBack.set(key, times);
    this.logger.warn(`${this.options.queue}: given back: ${textOf(error)}`);
    const signal = AbortSignal.any([lost, this.stopping.signal]);
    await sleep(backoffMs(GIVE_BACK, times), undefined, { signal }).catch(() => {});
    unlessClosed(lost, () => channel.nack(message, false, true));
  }

  private take(channel: Channel, lost: AbortSignal, message: ConsumeMessage): void {
    const ack = () => {
      this.givenBack.delete(keyOf(message));
      unlessClosed(lost, () => channel.ack(message));
    };
    const delivery: Delivery = { message, lost, ack };
    const running: Promise<void> = this.handle(delivery)
      .catch((error) => this.giveBack(channel, delivery, error))
      .finally(() => this.inWork.delete(running));
    this.inWork.add(running);
  }
}

/** On a channel that is closing the client library throws. The broker delivers again what was on it. */
function unlessClosed(lost: AbortSignal, settle: () => void): void {
  if (lost.aborted) return;
  try {
    settle();
  } catch {
    // It is closing, and `close` has yet to come.
  }
}

/** One that has no id is told from others by its size. */
function keyOf({ properties, content }: ConsumeMessage): string {
  return String(properties.messageId ?? `${content.length} bytes`).slice(0, 200);
}
