import { EventEmitter } from 'node:events';
import type { ChannelModel, ConfirmChannel, Replies } from 'amqplib';
import type { Semaphore } from '../async/semaphore.js';
import { BrokerUnavailable } from '../errors/errors.js';
import { libraryLogger } from '../library-logger.js';
import { noAnswer, within } from './broker-step-timeout.js';
import { leave } from './closing-channel.js';
import type { BrokerConnection } from './connection.js';
import { type Envelope, toProperties } from './envelope.js';
import { leaveOnceConfirmed, NackRetries } from './nack-retries.js';
import { observed } from './observed-publish.js';
import { Nacked, notConfirmed, onceSent, Unroutable } from './publish-outcomes.js';
import { type Delivery, type ExchangeRoute, PublishTarget } from './publish-target.js';
import { type PublishOptions, publishWindow, WindowPlace } from './publish-window.js';
import { BrokerBlocked, Queues } from './queue-declarations.js';
import type { QueueKind } from './queue-kinds.js';
import { meaningOf, NOT_FOUND } from './refusal.js';
import { SendRefusals } from './remembered-publish-refusals.js';

export { Nacked, Unroutable };

const REOPEN_MS = 200;

type Outgoing = { body: Buffer; properties: ReturnType<typeof toProperties>; place: WindowPlace };

/**
 * Publishes to a queue or an exchange: persistent, mandatory, with publisher confirms and a time limit. Many messages are
 * in flight within a window, because one confirm at a time is about thirty times slower. A returned message is a failure
 * although it is confirmed. The header `dtx-tag` finds it. If the process dies before the confirm, the sender must repeat.
 */
export class ConfirmPublisher extends EventEmitter<{ up: []; down: [] }> {
  private readonly logger = libraryLogger('publisher');
  private readonly inFlight = new Map<string, { isReturned: boolean }>();
  private readonly window: Semaphore;
  private readonly queues: Queues;
  private readonly refusals = new SendRefusals((message) => this.logger.warn(message));
  private readonly nacks: NackRetries;
  private channel: ConfirmChannel | undefined;
  private isRenewing = false;
  private sequence = 0;
  private wasUp = false;
  /** The name of a queue at the broker, for errors: with the prefix of the installation and a suffix for its type. */
  readonly nameAtBroker = (queue: string, kind?: QueueKind): string => this.connection.names.onWire(queue, kind);

  constructor(
    private readonly connection: BrokerConnection,
    private readonly options: PublishOptions,
  ) {
    super();
    this.setMaxListeners(100);
    this.window = publishWindow(options.windowMax);
    this.nacks = new NackRetries(options.leaseMs);
    this.queues = new Queues(connection, options.timeoutMs, (refused) => this.logger.warn(refused.message));
    connection.on('up', (opened) => void this.open(opened));
    connection.on('down', () => this.refusals.forgetSize());
    connection.on('down', () => this.lose());
    for (const change of ['blocked', 'unblocked'] as const) connection.on(change, () => this.tell());
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
   * @throws QueueRefused if the broker rejects the queue, the account or the size, or the exchange is missing
   */
  async publish(
    to: string | ExchangeRoute,
    body: Buffer,
    envelope: Envelope,
    { persistent = true, expiresMs, kind = 'work', withinMs }: Delivery = {},
  ): Promise<void> {
    const { names } = this.connection;
    const properties = toProperties(envelope, names);
    // guard: publisher.mandatory
    Object.assign(properties, { persistent, mandatory: true, ...(expiresMs && { expiration: Math.ceil(expiresMs) }) });
    const limitMs = Math.min(withinMs ?? this.options.timeoutMs, this.options.timeoutMs);
    const endsAt = performance.now() + limitMs;
    this.require();
    const target = new PublishTarget(this.queues, typeof to === 'string' ? names.onWire(to, kind) : to, kind);
    const place = new WindowPlace(this.window.tryAcquire() ?? (await this.window.acquire(limitMs)));
    try {
      const send = () => this.publishDeclared(target, endsAt, { body, properties, place });
      await observed(target.name, envelope, () => this.nacks.run(target.name, endsAt, send));
    } finally {
      place.leave();
    }
  }

  /** Declares the queue again and returns its message and consumer counts. @throws QueueRefused; BrokerUnavailable */
  inspect(queue: string, kind: QueueKind = 'work'): Promise<Replies.AssertQueue> {
    return this.queues.inspect(queue, kind);
  }

  /** The messages that no consumer takes, see `Queues`. @throws QueueRefused; BrokerUnavailable */
  unattended(queue: string, kind: QueueKind): Promise<number> {
    return this.queues.unattended(queue, kind);
  }

  /** The queue, without a declaration. Null if it does not exist. @throws QueueRefused; BrokerUnavailable */
  find(queue: string, kind: QueueKind = 'work'): Promise<Replies.AssertQueue | null> {
    return this.queues.find(queue, kind);
  }

  /** Declares a queue, once per connection. @throws QueueRefused; BrokerUnavailable */
  ensure(queue: string, kind: QueueKind): Promise<void> {
    return this.queues.ensure(queue, kind);
  }

  private publishDeclared(target: PublishTarget, endsAt: number, message: Outgoing): Promise<void> {
    return this.prepareAndPublish(target, endsAt, message).catch((error) => {
      // The queue was deleted after its declaration: declare it again and retry once.
      if (!(error instanceof Unroutable) || !target.forget()) throw error;
      return this.prepareAndPublish(target, endsAt, message);
    });
  }

  private prepareAndPublish(target: PublishTarget, endsAt: number, message: Outgoing): Promise<void> {
    const publish = () => this.publishOnce(target, endsAt - performance.now(), message);
    return target.isPrepared ? publish() : target.prepare(endsAt - performance.now()).then(publish);
  }

  private publishOnce(target: PublishTarget, limitMs: number, { body, properties, place }: Outgoing): Promise<void> {
    return new Promise((resolve, reject) => {
      const channel = this.require();
      const refused = this.refusals.before(target, body.length);
      if (refused) throw refused;
      const { name, exchange, routingKey } = target;
      const what = `cannot publish to ${name}`;
      const tag = String(++this.sequence);
      const sent = { isReturned: false };
      const over = () => {
        clearTimeout(timer);
        this.inFlight.delete(tag);
      };
      const fail = (error: unknown) => {
        over();
        reject(onceSent(meaningOf(error, { what, queue: name, right: 'write', exchange })));
      };
      const late = () => {
        fail(noAnswer(limitMs, what));
        void this.renew(channel);
      };
      const timer = setTimeout(late, Math.max(1, limitMs));
      const end = (error: Error | null) => {
        place.leave();
        if (error) return fail(this.reasonOf(error, channel, target, body.length));
        over();
        // guard: publisher.returned
        if (sent.isReturned) return reject(new Unroutable(`${what}: ${target.unroutable}`));
        resolve();
      };
      this.inFlight.set(tag, sent);
      properties.headers['dtx-tag'] = tag; // amqplib encodes them before `publish` returns
      try {
        // guard: publisher.publish
        channel.publish(exchange, routingKey, body, properties, end);
        place.hold();
      } catch (error) {
        fail(error);
      }
    });
  }

  private reasonOf(error: Error, channel: ConfirmChannel, target: PublishTarget, bytes: number): Error {
    const refused = this.refusals.of(channel, target, bytes);
    if (refused) return refused;
    const outcome = notConfirmed(error, target.name);
    // guard: publisher.renew
    if (outcome instanceof Nacked) void this.renew(channel);
    return outcome;
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
        if (sent) sent.isReturned = true;
      });
      channel.once('close', () => {
        if (this.channel !== channel) return;
        this.lose();
        // The channel died. The connection still works.
        this.openLater(connection);
      });
      if (!this.connection.isCurrent(connection)) return leave(channel);
      const before = this.channel;
      this.channel = channel;
      if (before) void leaveOnceConfirmed(before, this.options.timeoutMs);
      this.tell();
    } catch (error) {
      opening.then(leave, () => {});
      this.logger.warn(`cannot open a publishing channel, retrying: ${(error as Error).message}`);
      this.openLater(connection);
    }
  }

  /**
   * Replaces a channel that nacks (see `NackRetries`), and one with a message without an answer. The end of the old one
   * frees the places of its messages, so a queue that does not answer never takes the whole window for long.
   */
  private async renew(channel: ConfirmChannel): Promise<void> {
    const connection = this.connection.open;
    if (this.isRenewing || this.channel !== channel || !connection || this.connection.isBlocked) return;
    this.isRenewing = true;
    await this.open(connection).finally(() => (this.isRenewing = false));
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
