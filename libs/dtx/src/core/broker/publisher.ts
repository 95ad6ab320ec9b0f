import { EventEmitter } from 'node:events';
import { Logger } from '@nestjs/common';
import type { ChannelModel, ConfirmChannel, Options, Replies } from 'amqplib';
import { BrokerUnavailable, DtxError } from '../errors.js';
import { measure } from '../telemetry.js';
import type { BrokerConnection } from './connection.js';
import { type Envelope, toProperties } from './envelope.js';
import { declareQueue, found, isAnswerQueue, type OpenChannel, type QueueKind } from './topology.js';
import { Window } from './window.js';

/** The queue does not exist although it was declared: somebody deleted it just now. The broker still confirms such a publish. */
export class Unroutable extends DtxError {}
/** The broker will not have the queue as it is declared: it cannot, or the queue is there as another kind. Waiting helps nobody. */
export class QueueRefused extends DtxError {}
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
}

/** PRECONDITION_FAILED and NOT_IMPLEMENTED, as AMQP numbers them. */
const REFUSALS: unknown[] = [406, 540];

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
  private readonly window: Window;
  private declared = new Map<string, Promise<Replies.AssertQueue>>();
  private channel: ConfirmChannel | undefined;
  private sequence = 0;
  private wasUp = false;

  constructor(
    private readonly connection: BrokerConnection,
    private readonly options: PublishOptions,
  ) {
    super();
    this.setMaxListeners(100);
    this.window = new Window(options.windowMax);
    connection.on('up', (opened) => void this.open(opened));
    connection.on('down', () => this.lose());
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
   * @throws BrokerUnavailable when it is not known to be sent; Nacked when refused; Unroutable when the queue is missing;
   *   QueueRefused when the broker will not have it as `kind`
   */
  async publish(
    queue: string,
    body: Buffer,
    envelope: Envelope,
    { persistent = true, expiresMs, kind = 'work' }: Delivery = {},
  ): Promise<void> {
    const properties = {
      ...toProperties(envelope),
      persistent,
      ...(expiresMs ? { expiration: Math.ceil(expiresMs) } : {}),
    };
    const endsAt = performance.now() + this.options.timeoutMs;
    this.require();
    await this.window.enter(this.options.timeoutMs);
    const since = performance.now();
    let outcome: 'confirmed' | 'failed' = 'failed';
    try {
      try {
        await this.publishOnce({ queue, kind, endsAt }, body, properties);
      } catch (error) {
        if (!(error instanceof Unroutable) || isAnswerQueue(queue)) throw error;
        // Deleted since it was declared: declare it again and try once more before giving up.
        this.declared.delete(queue);
        await this.publishOnce({ queue, kind, endsAt }, body, properties);
      }
      outcome = 'confirmed';
    } finally {
      measure('published', { outcome, ms: performance.now() - since });
      this.window.leave();
    }
  }

  /**
   * Declares the queue (again) and tells how many messages and consumers it has now.
   * @throws QueueRefused; BrokerUnavailable
   */
  async inspect(queue: string, kind: QueueKind = 'work'): Promise<Replies.AssertQueue> {
    return this.limited(declareQueue(this.openChannel(), queue, kind), `declaring ${queue}`);
  }

  /** What is there under a name, without declaring it; null when nothing is. @throws BrokerUnavailable */
  async find(queue: string): Promise<Replies.AssertQueue | null> {
    return this.limited(found(this.openChannel().connection, queue), `looking for ${queue}`);
  }

  /** Declares a queue, once per connection. */
  ensure(queue: string, kind: QueueKind): Promise<void> {
    return this.declare(queue, kind);
  }

  private async publishOnce(
    { queue, kind, endsAt }: { queue: string; kind: QueueKind; endsAt: number },
    body: Buffer,
    properties: Options.Publish,
  ): Promise<void> {
    const channel = this.require();
    if (!isAnswerQueue(queue)) await this.declare(queue, kind);
    const tag = String(++this.sequence);
    const sent: InFlight = { properties, returned: false };
    this.inFlight.set(tag, sent);
    try {
      await this.limited(this.send(channel, queue, body, tag), `publishing to ${queue}`, endsAt);
    } finally {
      this.inFlight.delete(tag);
    }
    if (sent.returned) throw new Unroutable(`queue ${queue} does not exist`);
  }

  /** Once per queue and connection. */
  private async declare(queue: string, kind: QueueKind): Promise<void> {
    let declared = this.declared.get(queue);
    if (!declared) {
      declared = this.limited(declareQueue(this.openChannel(), queue, kind), `declaring ${queue}`);
      this.declared.set(queue, declared);
      declared.catch(() => this.declared.delete(queue));
    }
    await declared;
  }

  private send(channel: ConfirmChannel, queue: string, body: Buffer, tag: string): Promise<void> {
    const { properties } = this.inFlight.get(tag)!;
    const headers = { ...(properties.headers as object), 'dtx-tag': tag };
    return new Promise((resolve, reject) => {
      channel.publish('', queue, body, { ...properties, headers, mandatory: true }, (error) => {
        if (!error) resolve();
        else if (this.channel === channel) reject(new Nacked(`the broker refused a message to ${queue}`));
        else reject(new BrokerUnavailable(`lost the broker while publishing to ${queue}`));
      });
    });
  }

  private openChannel(): OpenChannel {
    const channel = this.require();
    return { connection: this.connection.open!, channel };
  }

  private require(): ConfirmChannel {
    if (!this.channel) throw new BrokerUnavailable('the broker is away');
    if (this.connection.isBlocked) throw new BrokerUnavailable('the broker has blocked those who publish');
    return this.channel;
  }

  private async limited<T>(
    step: Promise<T>,
    what: string,
    endsAt = performance.now() + this.options.timeoutMs,
  ): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<never>((_, reject) => {
      const giveUp = () => reject(new BrokerUnavailable(`${what}: no answer within ${this.options.timeoutMs} ms`));
      timer = setTimeout(giveUp, Math.max(1, endsAt - performance.now()));
    });
    try {
      return await Promise.race([step, limit]);
    } catch (error) {
      if (error instanceof DtxError) throw error;
      if (REFUSALS.includes((error as { code?: unknown }).code)) {
        throw new QueueRefused(`${what}: ${(error as Error).message}`);
      }
      throw new BrokerUnavailable(`${what}: ${(error as Error).message}`);
    } finally {
      clearTimeout(timer);
    }
  }

  private async open(connection: ChannelModel): Promise<void> {
    try {
      const channel = await connection.createConfirmChannel();
      channel.on('error', (error) => this.logger.warn(`publishing channel: ${error.message}`));
      channel.on('return', (message) => {
        const sent = this.inFlight.get(String(message.properties.headers?.['dtx-tag']));
        if (sent) sent.returned = true;
      });
      channel.once('close', () => {
        if (this.channel !== channel) return;
        this.lose();
        // Only the channel died (a declaration clashed, say): the connection is still good for another.
        this.openLater(connection);
      });
      this.channel = channel;
      this.declared = new Map();
      this.tell();
    } catch (error) {
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
