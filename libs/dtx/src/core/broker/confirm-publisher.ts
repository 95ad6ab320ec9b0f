import { EventEmitter } from 'node:events';
import { Logger } from '@nestjs/common';
import type { ChannelModel, ConfirmChannel, Options, Replies } from 'amqplib';
import { Semaphore } from '../async/semaphore.js';
import { BrokerUnavailable, DtxError, Unconfirmed } from '../errors/errors.js';
import { measure } from '../telemetry.js';
import type { BrokerConnection } from './connection.js';
import { type Envelope, toProperties } from './envelope.js';
import { within } from './limit.js';
import { BrokerBlocked, leave, Queues } from './queue-declarer.js';
import { meaningOf } from './refusal.js';
import { SendRefusals } from './send-refusals.js';
import { isProcessQueue, type QueueKind } from './topology.js';

/** The queue does not exist although it was declared: somebody deleted it just now. The broker still confirms such a publish. */
export class Unroutable extends DtxError {}
/** The broker refused the message (queue full, alarm). Not an attempt: try later. */
export class Nacked extends BrokerUnavailable {}

export interface PublishOptions {
  readonly windowMax: number;
  readonly timeoutMs: number;
}

/** How one message differs from a durable one. */
export interface Delivery {
  readonly persistent?: boolean;
  /** Not worth delivering after this time. */
  readonly expiresMs?: number;
  /** What the queue is declared as. */
  readonly kind?: QueueKind;
  /** How long to wait for the confirm, in milliseconds; `publishTimeoutMs` at the most, and unless it is given. */
  readonly withinMs?: number;
}

/** What the client library says of a nack of the broker's; everything else is the end of the channel, with the message on it. */
const NACKED = 'message nacked';
const REOPEN_MS = 200;

interface InFlight {
  readonly properties: Options.Publish;
  returned: boolean;
}

/**
 * Publishes straight to a queue: persistent, mandatory, with confirm and a time limit, many at once in a window
 * (awaiting each confirm alone costs thirty times). A returned message is a failure although the broker confirms it:
 * `return` comes before its confirm, so the two are matched by a tag of our own.
 */
export class ConfirmPublisher extends EventEmitter<{ up: []; down: [] }> {
  private readonly logger = new Logger('Publisher');
  private readonly inFlight = new Map<string, InFlight>();
  private readonly window: Semaphore;
  private readonly queues: Queues;
  private readonly refusals = new SendRefusals((message) => this.logger.warn(message));
  private channel: ConfirmChannel | undefined;
  private sequence = 0;
  private wasUp = false;

  constructor(
    private readonly connection: BrokerConnection,
    private readonly options: PublishOptions,
  ) {
    super();
    this.setMaxListeners(100);
    this.window = new Semaphore(
      options.windowMax,
      (ms) => new BrokerUnavailable(`${options.windowMax} messages were unconfirmed for ${ms} ms: not sent`),
    );
    this.queues = new Queues(connection, options.timeoutMs, (refused) => this.logger.warn(refused.message));
    connection.on('up', (opened) => void this.open(opened));
    connection.on('down', () => {
      this.refusals.forgetSize();
      this.lose();
    });
    connection.on('blocked', () => this.tell());
    connection.on('unblocked', () => this.tell());
  }

  /** Whether a message could be sent now, and would be read. */
  get isUp(): boolean {
    return this.channel !== undefined && !this.connection.isBlocked;
  }

  /**
   * Resolves once the broker has taken responsibility for the message; waiting for a place in the window counts into the
   * time limit.
   * @throws BrokerUnavailable when nothing was sent; Unconfirmed when it may have been; Nacked when refused; Unroutable when
   *   the queue is missing; QueueRefused when the broker will not have the queue as `kind`, takes nothing from this account,
   *   or no message of this size
   */
  async publish(
    queue: string,
    body: Buffer,
    envelope: Envelope,
    { persistent = true, expiresMs, kind = 'work', withinMs }: Delivery = {},
  ): Promise<void> {
    const properties = {
      ...toProperties(envelope),
      persistent,
      ...(expiresMs ? { expiration: Math.ceil(expiresMs) } : {}),
    };
    const limitMs = Math.min(withinMs ?? this.options.timeoutMs, this.options.timeoutMs);
    const endsAt = performance.now() + limitMs;
    this.require();
    const release = await this.window.acquire(limitMs);
    const since = performance.now();
    let outcome: 'confirmed' | 'failed' = 'failed';
    try {
      try {
        await this.publishOnce({ queue, kind, endsAt }, body, properties);
      } catch (error) {
        if (!(error instanceof Unroutable) || isProcessQueue(queue)) throw error;
        // Deleted since it was declared: declare it again and try once more before giving up.
        this.queues.forget(queue, kind);
        await this.publishOnce({ queue, kind, endsAt }, body, properties);
      }
      outcome = 'confirmed';
    } finally {
      measure('published', { outcome, ms: performance.now() - since });
      release();
    }
  }

  /**
   * Declares the queue (again) and tells how many messages and consumers it has now.
   * @throws QueueRefused; BrokerUnavailable
   */
  inspect(queue: string, kind: QueueKind = 'work'): Promise<Replies.AssertQueue> {
    return this.queues.inspect(queue, kind);
  }

  /** What is there under a name, without declaring it; null when nothing is. @throws QueueRefused; BrokerUnavailable */
  find(queue: string): Promise<Replies.AssertQueue | null> {
    return this.queues.find(queue);
  }

  /** Declares a queue, once per connection. @throws QueueRefused; BrokerUnavailable */
  ensure(queue: string, kind: QueueKind): Promise<void> {
    return this.queues.ensure(queue, kind);
  }

  private async publishOnce(
    { queue, kind, endsAt }: { queue: string; kind: QueueKind; endsAt: number },
    body: Buffer,
    properties: Options.Publish,
  ): Promise<void> {
    const leftMs = () => endsAt - performance.now();
    if (!isProcessQueue(queue))
      await within(leftMs(), `cannot declare queue ${queue}`, this.queues.ensure(queue, kind));
    const channel = this.require();
    const refused = this.refusals.before(queue, body.length);
    if (refused) throw refused;
    const tag = String(++this.sequence);
    const sent: InFlight = { properties, returned: false };
    this.inFlight.set(tag, sent);
    try {
      await within(leftMs(), `cannot publish to ${queue}`, this.send(channel, queue, body, tag));
    } catch (error) {
      throw onceSent(meaningOf(error, { what: `cannot publish to ${queue}`, queue, right: 'write' }));
    } finally {
      this.inFlight.delete(tag);
    }
    // guard: publisher.returned
    if (sent.returned) throw new Unroutable(`queue ${queue} does not exist`);
  }

  private send(channel: ConfirmChannel, queue: string, body: Buffer, tag: string): Promise<void> {
    const { properties } = this.inFlight.get(tag)!;
    const headers = { ...(properties.headers as object), 'dtx-tag': tag };
    return new Promise((resolve, reject) => {
      // guard: publisher.publish
      channel.publish('', queue, body, { ...properties, headers, mandatory: true }, (error) => {
        if (!error) return resolve();
        const refused = this.refusals.of(channel, queue, body.length);
        if (refused) reject(refused);
        else if (error.message === NACKED) reject(new Nacked(`the broker refused a message to ${queue}`));
        else reject(new Unconfirmed(`lost the broker while publishing to ${queue}`));
      });
    });
  }

  private require(): ConfirmChannel {
    if (!this.channel) throw new BrokerUnavailable('no connection to RabbitMQ');
    if (this.connection.isBlocked) throw new BrokerBlocked('RabbitMQ has blocked the connection: it takes no messages');
    return this.channel;
  }

  private async open(connection: ChannelModel): Promise<void> {
    const opening = connection.createConfirmChannel();
    try {
      const channel = await within(this.options.timeoutMs, 'opening a channel', opening);
      // Before the channel is closed, and before its publishes are told that it is.
      channel.on('error', (error) => this.refusals.closed(channel, error));
      channel.on('return', (message) => {
        const sent = this.inFlight.get(String(message.properties.headers?.['dtx-tag']));
        if (sent) sent.returned = true;
      });
      channel.once('close', () => {
        if (this.channel !== channel) return;
        this.lose();
        // Only the channel died: the connection is still good for another.
        this.openLater(connection);
      });
      this.channel = channel;
      this.tell();
    } catch (error) {
      opening.then(leave, () => {});
      this.logger.warn(`cannot open a publishing channel: ${(error as Error).message}`);
      this.openLater(connection);
    }
  }

  /** Only while this very connection lives; a new one announces itself. */
  private openLater(connection: ChannelModel): void {
    setTimeout(() => {
      if (this.connection.isCurrent(connection) && !this.channel) void this.open(connection);
    }, REOPEN_MS);
  }

  private lose(): void {
    this.channel = undefined;
    this.tell();
  }

  /** Once per change. */
  private tell(): void {
    if (this.isUp === this.wasUp) return;
    this.wasUp = this.isUp;
    this.emit(this.isUp ? 'up' : 'down');
  }
}

/** The broker may have what was sent, unless it has said no. */
function onceSent(error: DtxError): DtxError {
  return error instanceof BrokerUnavailable && !(error instanceof Nacked) ? new Unconfirmed(error.message) : error;
}
