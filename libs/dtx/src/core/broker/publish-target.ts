import { within } from './broker-step-timeout.js';
import type { Queues } from './queue-declarations.js';
import { isProcessQueue, type QueueKind } from './queue-kinds.js';

/** An exchange that another program declares, with the routing key of the message. */
export interface ExchangeRoute {
  /** The name of the exchange. The empty name is the default exchange, where the routing key is the name of a queue. */
  readonly exchange: string;
  readonly routingKey: string;
}

/** Options of one message. The defaults are those of a durable message. */
export interface Delivery {
  readonly persistent?: boolean;
  /** Time to live in milliseconds. The broker drops the message afterwards. */
  readonly expiresMs?: number;
  /** The kind with which the queue is declared. */
  readonly kind?: QueueKind;
  /** Wait for the publisher confirm in milliseconds. Default and maximum: `publishTimeoutMs`. */
  readonly withinMs?: number;
}

/** The place of one publish: a queue that this library declares, or an exchange that it only uses. */
export class PublishTarget {
  readonly exchange: string;
  readonly routingKey: string;
  /** The name in errors. */
  readonly name: string;
  /** The problem if the broker returns the message. */
  readonly unroutable: string;

  constructor(
    private readonly queues: Queues,
    to: string | ExchangeRoute,
    private readonly kind: QueueKind,
  ) {
    const isQueue = typeof to === 'string';
    this.isDeclared = isQueue && !isProcessQueue(to);
    this.exchange = isQueue ? '' : to.exchange;
    this.routingKey = isQueue ? to : to.routingKey;
    this.name = isQueue ? to : `exchange "${to.exchange}" with routing key "${to.routingKey}"`;
    this.unroutable = isQueue || to.exchange === '' ? 'the queue does not exist' : 'it leads to no queue';
    this.isForeign = !isQueue && to.exchange !== '';
  }

  /** Whether this library declares the queue. The queue of one process belongs to that process. */
  private readonly isDeclared: boolean;
  private readonly isForeign: boolean;

  /** Whether `prepare` has nothing to do. */
  get isPrepared(): boolean {
    return !this.isForeign && (!this.isDeclared || this.queues.isDeclared(this.routingKey, this.kind));
  }

  /** Declares the queue, or checks that the exchange exists. Once per connection. @throws QueueRefused; BrokerUnavailable */
  async prepare(limitMs: number): Promise<void> {
    if (this.isDeclared)
      await within(limitMs, `cannot declare queue ${this.name}`, this.queues.ensure(this.routingKey, this.kind));
    // At a publish to a missing exchange, the broker closes the channel with all other messages on it.
    if (this.isForeign)
      await within(limitMs, `cannot look at ${this.name}`, this.queues.mustHaveExchange(this.exchange));
  }

  /** Forgets the declaration of a queue that was deleted since. Returns whether it can be declared again. */
  forget(): boolean {
    if (this.isDeclared) this.queues.forget(this.routingKey, this.kind);
    return this.isDeclared;
  }
}
