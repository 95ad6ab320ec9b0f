import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel, ConsumeMessage } from 'amqplib';
import { BrokerUnavailable, textOf } from '../errors/errors.js';
import { libraryLogger } from '../library-logger.js';
import { CLOSE_LIMIT_MS, within } from './broker-step-timeout.js';
import { leave, unlessClosed } from './closing-channel.js';
import type { BrokerConnection } from './connection.js';
import { attachWaitMs, type ConsumerOptions, type Delivery } from './consumer-options.js';
import { priorityDuring } from './pausing.js';
import type { Queues } from './queue-declarations.js';
import { meaningOf, QueueRefused } from './refusal.js';
import { nameOf, ReturnCounts, returnWaitMs } from './return-counts.js';

export type { Delivery };

/**
 * Consumes one queue for as long as the process lives. It attaches again after a lost connection, a closed channel, or
 * a cancel by the broker (the queue was deleted). An ack uses the channel of its delivery, because delivery tags are
 * valid only there. If the process dies, the broker redelivers every unacknowledged delivery.
 */
export class QueueConsumer {
  private readonly logger = libraryLogger('consumer');
  private readonly inWork = new Set<Promise<void>>();
  private readonly returns = new ReturnCounts();
  private readonly stopping = new AbortController();
  private channel: Channel | undefined;
  private tag: string | undefined;
  private isStopped = true;
  private isAttaching = false;
  private pauseReason: string | undefined;
  /** The reason why the last attempt to attach failed. */
  private failure: string | undefined;
  private tries = 0;
  /** The looks that have found no optional queue, since it was there or since the connection is up. */
  private missed = 0;
  private retry: NodeJS.Timeout | undefined;

  constructor(
    private readonly connection: BrokerConnection,
    private readonly queues: Queues,
    readonly options: ConsumerOptions,
    private readonly handle: (delivery: Delivery) => Promise<void>,
  ) {}

  get queue(): string {
    return this.options.queue;
  }

  /** Whether the broker delivers from the queue now. */
  get isAttached(): boolean {
    return this.tag !== undefined;
  }

  /**
   * The reason why the broker delivers nothing. Undefined while attached, after `stop`, and while an optional queue is
   * missing.
   */
  get problem(): string | undefined {
    if (this.isStopped || this.isAttached) return undefined;
    if (this.options.isOptional && this.failure === undefined) return undefined;
    if (this.pauseReason !== undefined) return this.pauseReason;
    if (!this.connection.isUp) return this.connection.problem;
    return this.failure ?? 'not attached yet';
  }

  /** The number of deliveries in work. */
  get busy(): number {
    return this.inWork.size;
  }

  start(): void {
    this.isStopped = false;
    this.connection.on('up', this.attachAnew);
    if (this.connection.isUp) void this.attach();
  }

  /** Takes nothing while there is a reason. The broker gives the deliveries in work to other instances, or keeps them. */
  pauseFor(reason: string | undefined): void {
    this.pauseReason = reason;
    // A consumer attaches again with another priority.
    if (this.channel) leave(this.channel);
    else void this.attach();
  }

  /** Takes no more deliveries, and waits up to `drainMs` for those in work. The broker redelivers the rest. */
  async stop(drainMs: number): Promise<void> {
    this.isStopped = true;
    this.stopping.abort();
    this.connection.off('up', this.attachAnew);
    clearTimeout(this.retry);
    const { channel, tag } = this;
    if (channel && tag) await this.goodbye(() => channel.cancel(tag));
    const done = Promise.allSettled(this.inWork);
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([done, new Promise((resolve) => (timer = setTimeout(resolve, drainMs)))]);
    clearTimeout(timer);
    if (channel) await this.goodbye(() => channel.close());
  }

  /**
   * Waits for a close step, for a short time. On a connection that left an earlier close without an answer it does not
   * wait.
   */
  private async goodbye(say: () => Promise<unknown>): Promise<void> {
    try {
      const said = say();
      await within(this.connection.isSilent ? 0 : CLOSE_LIMIT_MS, 'closing a channel', said);
    } catch (error) {
      // The channel ends with its connection. A closed channel needs no close.
      if (error instanceof BrokerUnavailable) this.connection.isSilent = true;
    }
  }

  private readonly attachAnew = (): void => {
    this.missed = 0;
    void this.attach();
  };

  private readonly attach = async (): Promise<void> => {
    const connection = this.connection.open;
    if (this.isIdle || this.isAttaching || this.channel || !connection) return;
    this.isAttaching = true;
    const { limitMs } = this.options;
    const queue = this.nameOnWire;
    const what = `cannot consume ${queue}`;
    try {
      if (!(await this.isThere())) {
        this.failure = undefined;
        this.missed++;
        return;
      }
      this.missed = 0;
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
      if (!this.channel) this.retryLater();
    }
  };

  /** The name at the broker. */
  private get nameOnWire(): string {
    return this.connection.names.onWire(this.queue, this.options.kind);
  }

  /**
   * Declares the queue, or looks for an optional one. This uses another channel, because a rejection closes that one. It
   * always asks the broker, because the queue may have been deleted.
   */
  private async isThere(): Promise<boolean> {
    const { kind, isOptional } = this.options;
    const found = await (isOptional ? this.queues.find(this.queue, kind) : this.queues.inspect(this.queue, kind));
    return found !== null;
  }

  private get isIdle(): boolean {
    return this.isStopped || (this.pauseReason !== undefined && this.options.pausing !== 'last');
  }

  private async consume(channel: Channel, what: string): Promise<void> {
    const { prefetch, limitMs } = this.options;
    const queue = this.nameOnWire;
    const lost = new AbortController();
    setMaxListeners(0, lost.signal); // each delivery in work listens
    // While attaching, the failed step reports the same error.
    const failed = `RabbitMQ closed the channel of queue ${queue}, consuming it again`;
    channel.on('error', (error) => this.tag && this.logger.warn(`${failed}: ${error.message}`));
    channel.once('close', () => this.detach(channel, lost));
    await within(limitMs, what, channel.prefetch(prefetch));
    const take = (message: ConsumeMessage | null) => {
      if (message && this.isStopped) return unlessClosed(lost.signal, () => channel.nack(message, false, true));
      if (message) return this.take(channel, lost.signal, message);
      // The broker cancelled the consumer. Acks on this channel are no longer valid.
      this.detach(channel, lost);
      leave(channel);
    };
    const how = priorityDuring(this.pauseReason);
    const consuming = channel.consume(queue, take, how);
    const { consumerTag } = await within(limitMs, what, consuming);
    if (lost.signal.aborted) return;
    this.channel = channel;
    this.tag = consumerTag;
    // A stop or a pause may have come during the attach and seen no channel, or a pause may have ended.
    if (this.isIdle || how.priority !== priorityDuring(this.pauseReason).priority) leave(channel);
  }

  /** Logs each reason once. Only a rejection by the broker slows the retries. Other reasons may end at any moment. */
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

  /** Without a connection the attempt does nothing. The next connection emits `up`. */
  private retryLater(): void {
    if (this.isIdle) return;
    clearTimeout(this.retry);
    const waitMs = attachWaitMs({ missed: this.missed, refused: this.tries });
    this.retry = setTimeout(() => void this.attach(), waitMs);
  }

  /** The delivery was neither handled nor stored. It returns to the queue after a growing pause. */
  private async giveBack(channel: Channel, { message, lost }: Delivery, error: unknown): Promise<void> {
    if (lost.aborted) return;
    const times = this.returns.countOf(message);
    this.logger.warn(
      `cannot handle or store message ${nameOf(message)} of queue ${this.options.queue}, returning it to the queue and ` +
        `retrying (time ${times}): ${textOf(error)}`,
    );
    const signal = AbortSignal.any([lost, this.stopping.signal]);
    await sleep(returnWaitMs(times), undefined, { signal }).catch(() => {});
    unlessClosed(lost, () => channel.nack(message, false, true));
  }

  private take(channel: Channel, lost: AbortSignal, message: ConsumeMessage): void {
    const ack = () => {
      this.returns.forget(message);
      unlessClosed(lost, () => channel.ack(message));
    };
    const delivery: Delivery = { message: this.connection.names.received(message), lost, ack };
    const over = () => void this.inWork.delete(running);
    const running: Promise<void> = this.handle(delivery).then(over, (error) =>
      this.giveBack(channel, delivery, error).finally(over),
    );
    this.inWork.add(running);
  }
}
