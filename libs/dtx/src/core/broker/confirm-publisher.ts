import { EventEmitter } from 'node:events';
import type { ChannelModel, ConfirmChannel, Options, Replies } from 'amqplib';
import { Semaphore } from '../async/semaphore.js';
import { BrokerUnavailable, DtxError, Unconfirmed } from '../errors/errors.js';
import { libraryLogger } from '../library-logger.js';
import { within } from './broker-step-timeout.js';
import type { BrokerConnection } from './connection.js';
import { type Envelope, toProperties } from './envelope.js';
import { observed } from './observed-publish.js';
import { type Delivery, type ExchangeRoute, PublishTarget } from './publish-target.js';
import { BrokerBlocked, leave, Queues } from './queue-declarations.js';
import type { QueueKind } from './queue-kinds.js';
import { meaningOf, NOT_FOUND } from './refusal.js';
import { SendRefusals } from './remembered-publish-refusals.js';

/**
 * The queue was deleted after its declaration, or the exchange leads to no queue. The broker confirms such a publish all the same, and returns the
 * message.
 */
export class Unroutable extends DtxError {}
/** The broker rejected the message with a nack: queue full, or alarm. Retryable. Does not count as an attempt. */
export class Nacked extends BrokerUnavailable {}

export interface PublishOptions {
  readonly windowMax: number;
  readonly timeoutMs: number;
}

/** The error text of amqplib for a nack of the broker. Any other error means that the channel ended. */
const NACKED = 'message nacked';
const REOPEN_MS = 200;

interface InFlight {
  readonly properties: Options.Publish;
  returned: boolean;
}

/**
 * Publishes to a queue, or to an exchange of another program: persistent, mandatory, with publisher confirms and a time limit.
 * Many messages are in flight within a window, because one confirm at a time is about thirty times slower. A returned
 * message is a failure although the broker confirms it. `return` precedes the confirm, and the header `dtx-tag` matches
 * the two. If the process dies before the confirm, the sender must publish again.
 */
export class ConfirmPublisher extends EventEmitter<{ up: []; down: [] }> {
  private readonly logger = libraryLogger('publisher');
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
      (ms) =>
        new BrokerUnavailable(
          `message not sent: publishWindowMax ${options.windowMax} messages wait for a confirm, no place for ${ms} ms; ` +
            'check RabbitMQ for alarms and load, then retry',
        ),
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

  /** Whether a message can be sent now, on a connection that the broker does not block. */
  get isUp(): boolean {
    return this.channel !== undefined && !this.connection.isBlocked;
  }

  /**
   * Resolves when the broker has taken responsibility for the message. The time limit includes the wait for the window.
   * @throws BrokerUnavailable if nothing was sent
   * @throws Unconfirmed if the message may have been sent
   * @throws Nacked if the broker rejected the message
   * @throws Unroutable if the queue is missing, or the exchange leads to no queue
   * @throws QueueRefused if the broker rejects the queue as `kind`, the account, or a message of this size, or the exchange
   *   is missing
   */
  async publish(
    to: string | ExchangeRoute,
    body: Buffer,
    envelope: Envelope,
    { persistent = true, expiresMs, kind = 'work', withinMs }: Delivery = {},
  ): Promise<void> {
    const { names } = this.connection;
    const expiration = expiresMs ? { expiration: Math.ceil(expiresMs) } : {};
    const properties = { ...toProperties(envelope, names), persistent, ...expiration };
    const limitMs = Math.min(withinMs ?? this.options.timeoutMs, this.options.timeoutMs);
    const endsAt = performance.now() + limitMs;
    this.require();
    const target = new PublishTarget(this.queues, typeof to === 'string' ? names.onWire(to) : to, kind);
    const release = await this.window.acquire(limitMs);
    try {
      await observed(target.name, envelope, async () => {
        try {
          await this.publishOnce(target, endsAt, { body, properties });
        } catch (error) {
          // The queue was deleted after its declaration: declare it again and retry once.
          if (!(error instanceof Unroutable) || !target.forget()) throw error;
          await this.publishOnce(target, endsAt, { body, properties });
        }
      });
    } finally {
      release();
    }
  }

  /** Declares the queue again and returns its message and consumer counts. @throws QueueRefused; BrokerUnavailable */
  inspect(queue: string, kind: QueueKind = 'work'): Promise<Replies.AssertQueue> {
    return this.queues.inspect(queue, kind);
  }

  /**
   * Looks at a queue without declaring it. Returns null if it does not exist. @throws QueueRefused; BrokerUnavailable
   */
  find(queue: string): Promise<Replies.AssertQueue | null> {
    return this.queues.find(queue);
  }

  /** Declares a queue, once per connection. @throws QueueRefused; BrokerUnavailable */
  ensure(queue: string, kind: QueueKind): Promise<void> {
    return this.queues.ensure(queue, kind);
  }

  private async publishOnce(
    target: PublishTarget,
    endsAt: number,
    { body, properties }: { body: Buffer; properties: Options.Publish },
  ): Promise<void> {
    const { name, exchange } = target;
    const leftMs = () => endsAt - performance.now();
    await target.prepare(leftMs());
    const channel = this.require();
    const refused = this.refusals.before(target, body.length);
    if (refused) throw refused;
    const tag = String(++this.sequence);
    const sent: InFlight = { properties, returned: false };
    this.inFlight.set(tag, sent);
    try {
      await within(leftMs(), `cannot publish to ${name}`, this.send(channel, target, body, tag));
    } catch (error) {
      throw onceSent(meaningOf(error, { what: `cannot publish to ${name}`, queue: name, right: 'write', exchange }));
    } finally {
      this.inFlight.delete(tag);
    }
    // guard: publisher.returned
    if (sent.returned) throw new Unroutable(`cannot publish to ${name}: ${target.unroutable}`);
  }

  private send(channel: ConfirmChannel, target: PublishTarget, body: Buffer, tag: string): Promise<void> {
    const { properties } = this.inFlight.get(tag)!;
    const headers = { ...(properties.headers as object), 'dtx-tag': tag };
    const { name, exchange, routingKey } = target;
    return new Promise((resolve, reject) => {
      // guard: publisher.publish
      channel.publish(exchange, routingKey, body, { ...properties, headers, mandatory: true }, (error) => {
        if (!error) return resolve();
        const refused = this.refusals.of(channel, target, body.length);
        if (refused) reject(refused);
        else if (error.message === NACKED)
          reject(new Nacked(`cannot publish to ${name}: RabbitMQ rejected the message (nack)`));
        else reject(new Unconfirmed(`publish to ${name} unconfirmed: lost the connection to RabbitMQ`));
      });
    });
  }

  private require(): ConfirmChannel {
    if (!this.channel) throw new BrokerUnavailable(`cannot publish: ${this.connection.problem}`);
    if (this.connection.isBlocked)
      throw new BrokerBlocked(
        'cannot publish: RabbitMQ has blocked the connection (memory or disk alarm) until it has room again',
      );
    return this.channel;
  }

  private async open(connection: ChannelModel): Promise<void> {
    const opening = connection.createConfirmChannel();
    try {
      const channel = await within(this.options.timeoutMs, 'opening a channel', opening);
      // This event precedes the close of the channel and the errors of its publishes.
      channel.on('error', (error: Error & { code?: number }) => {
        this.refusals.closed(channel, error);
        if (error.code === NOT_FOUND) this.queues.forgetExchanges();
      });
      channel.on('return', (message) => {
        const sent = this.inFlight.get(String(message.properties.headers?.['dtx-tag']));
        if (sent) sent.returned = true;
      });
      channel.once('close', () => {
        if (this.channel !== channel) return;
        this.lose();
        // The channel died. The connection still works.
        this.openLater(connection);
      });
      this.channel = channel;
      this.tell();
    } catch (error) {
      opening.then(leave, () => {});
      this.logger.warn(`cannot open a publishing channel, retrying: ${(error as Error).message}`);
      this.openLater(connection);
    }
  }

  /** Opens a new channel on the same connection. A new connection emits `up` itself. */
  private openLater(connection: ChannelModel): void {
    setTimeout(() => {
      if (this.connection.isCurrent(connection) && !this.channel) void this.open(connection);
    }, REOPEN_MS);
  }

  private lose(): void {
    this.channel = undefined;
    this.tell();
  }

  /** Emits each change once. */
  private tell(): void {
    if (this.isUp === this.wasUp) return;
    this.wasUp = this.isUp;
    this.emit(this.isUp ? 'up' : 'down');
  }
}

/** After the send, the outcome is unknown unless the broker rejected the message. */
function onceSent(error: DtxError): DtxError {
  return error instanceof BrokerUnavailable && !(error instanceof Nacked) ? new Unconfirmed(error.message) : error;
}
