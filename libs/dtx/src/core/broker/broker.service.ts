import { Inject, Injectable, OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import { CORE_OPTIONS } from '../injection-tokens.js';
import type { CoreOptions } from '../options.js';
import { ConfirmPublisher } from './confirm-publisher.js';
import { BrokerConnection } from './connection.js';
import { ConsumedQueue } from './consumed-queue.js';
import type { ConsumerState } from './consumer-options.js';
import type { Pausing } from './pausing.js';
import { type Delivery, QueueConsumer } from './queue-consumer.js';
import { Queues } from './queue-declarations.js';
import { drainQueue } from './queue-drain.js';
import type { QueueKind } from './queue-kinds.js';

/** A connection to the broker, as operators see it. */
export interface ConnectionState {
  readonly name: string;
  readonly isUp: boolean;
  readonly isBlocked: boolean;
  /** Host and port of the node. */
  readonly node: string;
  /** The version of the server. Null without a connection. */
  readonly server: string | null;
  /** The reason of the last failure. Null while connected. */
  readonly problem: string | null;
}

interface ConsumeOptions {
  readonly prefetch?: number;
  readonly kind?: QueueKind;
  readonly pausing?: Pausing;
}

interface DrainOptions {
  readonly prefetch?: number;
  readonly kind?: QueueKind;
  /** Aborted when no further message may be taken. */
  readonly until: AbortSignal;
}

/**
 * The RabbitMQ connections of the library, one for publishing and one for consuming. A broker with a memory or disk
 * alarm blocks the whole publishing connection. Consuming must go on, because it ends the alarm. If the process dies,
 * the broker redelivers every unacknowledged delivery.
 * @example
 *   this.broker.isUp; // true
 *   this.broker.consumerProblems(); // [], or [{ queue: 'dtx.billing.send-invoice.v1', reason: '...' }]
 */
@Injectable()
export class Broker implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly publisher: ConfirmPublisher;
  private readonly publishing: BrokerConnection;
  private readonly consuming: BrokerConnection;
  /** The queues of the consuming connection. An exclusive answer queue belongs to the connection that declares it. */
  private readonly consumed: Queues;
  private readonly consumers: QueueConsumer[] = [];
  /** The consumers that write to the database of the app. */
  private readonly pausable: QueueConsumer[] = [];
  private pauseReason: string | undefined;

  /** @internal */
  constructor(@Inject(CORE_OPTIONS) private readonly options: CoreOptions) {
    const { rabbitmqUrl: url, heartbeatSeconds, reconnect, app, queuePrefix, queues } = options;
    const to = { url, heartbeatSeconds, reconnect, queuePrefix, queues };
    this.publishing = new BrokerConnection({ ...to, name: `dtx ${app} publish` });
    this.consuming = new BrokerConnection({ ...to, name: `dtx ${app} consume` });
    this.consumed = new Queues(this.consuming, options.publishTimeoutMs);
    this.publisher = new ConfirmPublisher(this.publishing, {
      windowMax: options.publishWindowMax,
      timeoutMs: options.publishTimeoutMs,
      leaseMs: options.leaseMs,
    });
  }

  /** True while the connections for publishing and for consuming are open. */
  get isUp(): boolean {
    return this.publisher.isUp && this.consuming.isUp;
  }

  /** Calls `then` at the end of each connection. Messages on their way over it, in both directions, may be lost. */
  onLost(then: () => void): void {
    for (const connection of [this.publishing, this.consuming]) connection.on('down', then);
  }

  /**
   * Consumes one queue from now on, whenever the broker is available. On the wire, this may be two queues, each with
   * `prefetch` deliveries.
   */
  consume(
    queue: string,
    handle: (delivery: Delivery) => Promise<void>,
    { prefetch = this.options.prefetch, kind = 'work', pausing = 'stop' }: ConsumeOptions = {},
  ): ConsumedQueue {
    const limitMs = this.options.publishTimeoutMs;
    const [main, ...others] = this.consuming.names
      .consumed(queue, kind)
      .map((one) => new QueueConsumer(this.consuming, this.consumed, { ...one, prefetch, pausing, limitMs }, handle));
    const consumers = [main!, ...others];
    this.consumers.push(...consumers);
    if (pausing !== 'never') {
      this.pausable.push(...consumers);
      for (const consumer of consumers) consumer.pauseFor(this.pauseReason);
    }
    for (const consumer of consumers) consumer.start();
    return new ConsumedQueue(main!, others);
  }

  /** Whether a pause would stop a consumer. */
  get consumesForDatabase(): boolean {
    return this.pausable.length > 0;
  }

  get isPaused(): boolean {
    return this.pauseReason !== undefined;
  }

  /** Takes no deliveries while there is a reason, and gives those in work back to the broker. Undefined ends the pause. */
  pauseFor(reason: string | undefined): void {
    this.pauseReason = reason;
    for (const consumer of this.pausable) consumer.pauseFor(reason);
  }

  /**
   * Takes the messages that wait in a queue now, for an instance that does not consume it. Resolves to their number.
   * @throws QueueRefused; BrokerUnavailable; the first error of `handle`
   */
  async drain(
    queue: string,
    handle: (delivery: Delivery) => Promise<void>,
    { prefetch = this.options.prefetch, kind = 'work' as QueueKind, until }: DrainOptions,
  ): Promise<number> {
    const limitMs = this.options.publishTimeoutMs;
    const at = { connection: this.consuming, queues: this.consumed };
    let taken = 0;
    for (const one of this.consuming.names.consumed(queue, kind))
      taken += await drainQueue(at, { ...one, prefetch, limitMs }, handle, until);
    return taken;
  }

  /** The queues without deliveries to this process, with the reason. Empty in normal operation. */
  consumerProblems(): Array<{ queue: string; reason: string }> {
    return this.consumers.flatMap(({ queue, problem }) => (problem === undefined ? [] : [{ queue, reason: problem }]));
  }

  /** The consumers of this process, by the names of their queues on the wire. */
  consumerStates(): ConsumerState[] {
    return this.consumers.map(({ options, isAttached, busy, problem }) => {
      const queue = this.consuming.names.onWire(options.queue, options.kind);
      return { ...options, queue, isAttached, busy, problem };
    });
  }

  /** The numbers of messages and consumers of a queue that this process consumes. Null if it does not exist. */
  async depthOf({ queue, kind }: ConsumerState): Promise<{ messages: number; consumers: number } | null> {
    const found = await this.consumed.find(queue, kind);
    return found && { messages: found.messageCount, consumers: found.consumerCount };
  }

  /** Both connections, for operators. */
  connectionStates(): ConnectionState[] {
    return [
      { name: 'publish', ...this.publishing.state },
      { name: 'consume', ...this.consuming.state },
    ];
  }

  /** Starts to connect, once. For components that use the broker during the start of the application. */
  start(): void {
    this.publishing.start();
    this.consuming.start();
  }

  onApplicationBootstrap(): void {
    this.start();
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all([this.publishing.close(), this.consuming.close()]);
  }
}
