import type { Channel, ChannelModel, Replies } from 'amqplib';
import { Semaphore } from '../async/semaphore.js';
import { BrokerUnavailable } from '../errors/errors.js';
import { within } from './broker-step-timeout.js';
import { leave } from './closing-channel.js';
import type { BrokerConnection } from './connection.js';
import { argumentsOf, type QueueKind } from './queue-kinds.js';
import { ACCESS_REFUSED, type Asked, meaningOf, NOT_FOUND, QueueRefused } from './refusal.js';

/** The broker blocks this connection (memory or disk alarm) and reads nothing from it. Nothing was sent. */
export class BrokerBlocked extends BrokerUnavailable {}

/**
 * Time in milliseconds during which a rejection is answered from memory. Longer than a retry, and short enough for an
 * operator who checks a fix.
 */
const REFUSED_MS = 5_000;
const REFUSALS_MAX = 1_000;
/**
 * Concurrent requests, each on its own channel. A slow queue delays no other queue, and a rejection closes only one
 * channel.
 */
const CHANNELS_MAX = 8;
/** Idle channels that are kept for the next request. */
const IDLE_MAX = 2;

interface Refusal {
  readonly error: QueueRefused;
  readonly until: number;
}

/**
 * Declares and inspects queues on one connection, on channels without messages. The broker answers a rejection by
 * closing the channel. A rejection is remembered for a short time, so that concurrent users of the queue ask once.
 */
export class Queues {
  private readonly places = new Semaphore(
    CHANNELS_MAX,
    (ms) =>
      new BrokerUnavailable(
        `cannot declare or look at a queue: RabbitMQ left ${CHANNELS_MAX} such requests without an answer for ${ms} ms`,
      ),
  );
  private readonly declared = new Map<string, Promise<unknown>>();
  /** The declarations of `declared` that the broker has accepted. */
  private readonly accepted = new WeakSet<Promise<unknown>>();
  private readonly exchanges = new Map<string, Promise<unknown>>();
  private readonly looks = new Map<string, Promise<Replies.AssertQueue>>();
  private readonly refusals = new Map<string, Refusal>();
  /** Queues that this account may not declare. They are used as they exist. */
  private readonly foreign = new Set<string>();
  private idle: Channel[] = [];

  /** @param refused receives the first rejection of a queue, and each rejection with another reason */
  constructor(
    private readonly connection: BrokerConnection,
    private readonly limitMs: number,
    private readonly refused: (error: QueueRefused) => void = () => {},
  ) {
    connection.on('down', () => {
      this.declared.clear();
      this.exchanges.clear();
      this.foreign.clear();
      this.idle = [];
    });
  }

  /** Declares a queue, once per connection. @throws QueueRefused; BrokerUnavailable */
  async ensure(queue: string, kind: QueueKind): Promise<void> {
    const key = this.keyOf(queue, kind);
    let declared = this.declared.get(key);
    if (!declared) {
      declared = this.inspect(queue, kind);
      this.declared.set(key, declared);
      const mine = declared;
      void mine.then(() => this.accepted.add(mine)).catch(() => {});
      mine.catch(() => this.declared.get(key) === mine && this.declared.delete(key));
    }
    await declared;
  }

  /** Whether `ensure` has nothing to do. */
  isDeclared(queue: string, kind: QueueKind): boolean {
    const declared = this.declared.get(this.keyOf(queue, kind));
    return declared !== undefined && this.accepted.has(declared);
  }

  /** Forgets a declaration. The next use declares the queue again. */
  forget(queue: string, kind: QueueKind): void {
    this.declared.delete(this.keyOf(queue, kind));
  }

  /**
   * Declares the queue again and returns its message and consumer counts. Concurrent callers share the answer.
   * @throws QueueRefused; BrokerUnavailable
   */
  inspect(queue: string, kind: QueueKind = 'work'): Promise<Replies.AssertQueue> {
    const key = this.keyOf(queue, kind);
    const refusal = this.refusals.get(key);
    if (refusal && performance.now() < refusal.until) return Promise.reject(refusal.error);
    let look = this.looks.get(key);
    if (!look) {
      look = this.ask(key, queue, kind).finally(() => this.looks.delete(key));
      this.looks.set(key, look);
    }
    return look;
  }

  private async ask(key: string, queue: string, kind: QueueKind): Promise<Replies.AssertQueue> {
    try {
      const found = await this.declareOrFind(queue, kind);
      this.refusals.delete(key);
      return found;
    } catch (error) {
      if (error instanceof QueueRefused) this.remember(key, error);
      throw error;
    }
  }

  private async declareOrFind(name: string, kindInCode: QueueKind): Promise<Replies.AssertQueue> {
    const { names } = this.connection;
    const [queue, kind] = [names.onWire(name, kindInCode), names.kindOnWire(kindInCode)];
    const looksFirst = kind === 'replicated-if-new' || this.foreign.has(queue);
    const found = looksFirst ? await this.find(queue, kind) : null;
    if (found) return found;
    try {
      const asked = { what: `cannot declare queue ${queue}`, queue, right: 'configure' } as const;
      return await this.onChannel(asked, (channel) => channel.assertQueue(queue, argumentsOf(queue, kind)));
    } catch (error) {
      if (looksFirst || !(error instanceof QueueRefused) || error.code !== ACCESS_REFUSED) throw error;
      // Another account declares the queue. A passive declaration needs no right.
      this.foreign.add(queue);
      const there = await this.find(queue, kind);
      if (there) return there;
      throw error;
    }
  }

  /**
   * Looks at a queue without declaring it. Returns null if it does not exist. @throws QueueRefused; BrokerUnavailable
   */
  async find(name: string, kind: QueueKind = 'work'): Promise<Replies.AssertQueue | null> {
    const queue = this.connection.names.onWire(name, kind);
    const asked = { what: `cannot look at queue ${queue}`, queue, right: 'read' } as const;
    try {
      return await this.onChannel(asked, (channel) => channel.checkQueue(queue));
    } catch (error) {
      if (error instanceof QueueRefused && error.code === NOT_FOUND) return null;
      throw error;
    }
  }

  /**
   * Declares the queue again, and returns the number of its messages if it has no consumer. Those of a queue of the other
   * type count too. It is asked for only without a consumer, because consumers attach to both.
   * @throws QueueRefused; BrokerUnavailable
   */
  async unattended(queue: string, kind: QueueKind): Promise<number> {
    const { messageCount, consumerCount } = await this.inspect(queue, kind);
    if (consumerCount > 0) return 0;
    const [, ...others] = this.connection.names.consumed(queue, kind);
    const looks = await Promise.all(others.map((other) => this.find(other.queue, other.kind)));
    return looks.reduce((sum, look) => sum + (look?.consumerCount === 0 ? look.messageCount : 0), messageCount);
  }

  /** Checks once per connection that an exchange exists. It is never declared. @throws QueueRefused; BrokerUnavailable */
  async mustHaveExchange(exchange: string): Promise<void> {
    let check = this.exchanges.get(exchange);
    if (!check) {
      check = this.findExchange(exchange);
      this.exchanges.set(exchange, check);
      const mine = check;
      mine.catch(() => this.exchanges.get(exchange) === mine && this.exchanges.delete(exchange));
    }
    await check;
  }

  /** Forgets the checked exchanges, since one was deleted. */
  forgetExchanges(): void {
    this.exchanges.clear();
  }

  private async findExchange(exchange: string): Promise<void> {
    const asked = { what: `cannot look at exchange ${exchange}`, queue: exchange, right: 'read' } as const;
    try {
      await this.onChannel(asked, (channel) => channel.checkExchange(exchange));
    } catch (error) {
      if (!(error instanceof QueueRefused) || error.code !== NOT_FOUND) throw error;
      const remedy = 'create it, or correct `publishTo` of the contract';
      throw new QueueRefused(exchange, NOT_FOUND, `exchange ${exchange} does not exist; ${remedy}`);
    }
  }

  private keyOf(queue: string, kind: QueueKind): string {
    return `${this.connection.names.onWire(queue, kind)} ${typeof kind === 'string' ? kind : JSON.stringify(kind)}`;
  }

  private remember(key: string, error: QueueRefused): void {
    if (this.refusals.get(key)?.error.message !== error.message) this.refused(error);
    this.refusals.delete(key);
    if (this.refusals.size >= REFUSALS_MAX) this.refusals.delete(this.refusals.keys().next().value!);
    this.refusals.set(key, { error, until: performance.now() + REFUSED_MS });
  }

  /** Sends one request on an exclusive channel. If the broker closes the channel, the reason is this request. */
  private async onChannel<T>(asked: Asked, ask: (channel: Channel) => Promise<T>): Promise<T> {
    const endsAt = performance.now() + this.limitMs;
    const connection = this.connection.open;
    if (!connection) throw new BrokerUnavailable(`${asked.what}: ${this.connection.problem}`);
    if (this.connection.isBlocked)
      throw new BrokerBlocked(
        `${asked.what}: RabbitMQ has blocked the connection (memory or disk alarm) until it has room`,
      );
    const release = await this.places.acquire(this.limitMs);
    let channel: Channel | undefined;
    try {
      channel = this.idle.pop() ?? (await this.openChannel(connection, endsAt));
      const answer = await within(endsAt - performance.now(), asked.what, ask(channel));
      if (this.idle.length < IDLE_MAX && this.connection.isCurrent(connection)) this.idle.push(channel);
      else leave(channel);
      return answer;
    } catch (error) {
      if (channel) leave(channel);
      throw meaningOf(error, asked);
    } finally {
      release();
    }
  }

  private async openChannel(connection: ChannelModel, endsAt: number): Promise<Channel> {
    const opening = connection.createChannel();
    const channel = await within(endsAt - performance.now(), 'opening a channel', opening).catch((error) => {
      void opening.then(leave, () => {});
      throw error;
    });
    // Without a listener, amqplib closes the whole connection.
    channel.on('error', () => {});
    channel.once('close', () => {
      this.idle = this.idle.filter((one) => one !== channel);
    });
    return channel;
  }
}
