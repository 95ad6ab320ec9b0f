import type { Channel, ChannelModel, Replies } from 'amqplib';
import { Semaphore } from '../async/semaphore.js';
import { BrokerUnavailable } from '../errors/errors.js';
import type { BrokerConnection } from './connection.js';
import { CLOSE_LIMIT_MS, within } from './limit.js';
import { ACCESS_REFUSED, type Asked, meaningOf, NOT_FOUND, QueueRefused } from './refusal.js';
import { argumentsOf, type QueueKind } from './topology.js';

/** The broker blocks this connection (memory or disk alarm): it reads nothing that is sent on it. Nothing was sent. */
export class BrokerBlocked extends BrokerUnavailable {}

/** How long a refusal is answered from memory. Longer than a retry, shorter than a person who looks whether it is mended. */
const REFUSED_MS = 5_000;
const REFUSALS_MAX = 1_000;
/** Questions at once, each on a channel of its own: a slow queue delays no other, and a refused one takes none along. */
const CHANNELS_MAX = 8;
/** Channels that are kept for the next question. */
const IDLE_MAX = 2;

interface Refusal {
  readonly error: QueueRefused;
  readonly until: number;
}

/**
 * Declares queues and looks at them, for one connection, on channels that carry no message: the broker answers a refusal by
 * closing the channel. A refusal is remembered for a moment, so that the many who need the queue ask once.
 */
export class Queues {
  private readonly places = new Semaphore(
    CHANNELS_MAX,
    (ms) => new BrokerUnavailable(`${CHANNELS_MAX} queue declarations have had no answer for ${ms} ms`),
  );
  private readonly declared = new Map<string, Promise<unknown>>();
  private readonly looks = new Map<string, Promise<Replies.AssertQueue>>();
  private readonly refusals = new Map<string, Refusal>();
  /** Queues that this account may not declare: they are used as they are. */
  private readonly foreign = new Set<string>();
  private idle: Channel[] = [];

  /** `refused` is called at the first refusal of a queue, and when the broker gives another reason. */
  constructor(
    private readonly connection: BrokerConnection,
    private readonly limitMs: number,
    private readonly refused: (error: QueueRefused) => void = () => {},
  ) {
    connection.on('down', () => {
      this.declared.clear();
      this.foreign.clear();
      this.idle = [];
    });
  }

  /** Declares a queue, once per connection. @throws QueueRefused; BrokerUnavailable */
  async ensure(queue: string, kind: QueueKind): Promise<void> {
    const key = keyOf(queue, kind);
    let declared = this.declared.get(key);
    if (!declared) {
      declared = this.inspect(queue, kind);
      this.declared.set(key, declared);
      const mine = declared;
      mine.catch(() => this.declared.get(key) === mine && this.declared.delete(key));
    }
    await declared;
  }

  /** It was deleted behind our back: the next one declares it again. */
  forget(queue: string, kind: QueueKind): void {
    this.declared.delete(keyOf(queue, kind));
  }

  /**
   * Declares a queue (again) and tells how many messages and consumers it has now. Callers at the same time share the answer.
   * @throws QueueRefused; BrokerUnavailable
   */
  inspect(queue: string, kind: QueueKind = 'work'): Promise<Replies.AssertQueue> {
    const key = keyOf(queue, kind);
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

  private async declareOrFind(queue: string, kind: QueueKind): Promise<Replies.AssertQueue> {
    const looksFirst = kind === 'replicated-if-new' || this.foreign.has(queue);
    const found = looksFirst ? await this.find(queue) : null;
    if (found) return found;
    try {
      const asked = { what: `cannot declare queue ${queue}`, queue, right: 'configure' } as const;
      return await this.onChannel(asked, (channel) => channel.assertQueue(queue, argumentsOf(queue, kind)));
    } catch (error) {
      if (looksFirst || !(error instanceof QueueRefused) || error.code !== ACCESS_REFUSED) throw error;
      // Somebody else declares for this account. To look needs no right.
      this.foreign.add(queue);
      const there = await this.find(queue);
      if (there) return there;
      throw error;
    }
  }

  /** What is there under a name, without declaring it. Null when nothing is. @throws QueueRefused; BrokerUnavailable */
  async find(queue: string): Promise<Replies.AssertQueue | null> {
    const asked = { what: `cannot look at queue ${queue}`, queue, right: 'read' } as const;
    try {
      return await this.onChannel(asked, (channel) => channel.checkQueue(queue));
    } catch (error) {
      if (error instanceof QueueRefused && error.code === NOT_FOUND) return null;
      throw error;
    }
  }

  private remember(key: string, error: QueueRefused): void {
    if (this.refusals.get(key)?.error.message !== error.message) this.refused(error);
    this.refusals.delete(key);
    if (this.refusals.size >= REFUSALS_MAX) this.refusals.delete(this.refusals.keys().next().value!);
    this.refusals.set(key, { error, until: performance.now() + REFUSED_MS });
  }

  /** One question on a channel that nobody else uses meanwhile: if the broker closes it, it was for this one. */
  private async onChannel<T>(asked: Asked, ask: (channel: Channel) => Promise<T>): Promise<T> {
    const endsAt = performance.now() + this.limitMs;
    const connection = this.connection.open;
    if (!connection) throw new BrokerUnavailable(`${asked.what}: no connection to RabbitMQ`);
    if (this.connection.isBlocked) throw new BrokerBlocked(`${asked.what}: RabbitMQ has blocked the connection`);
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
    // Without a listener the client library would close the whole connection.
    channel.on('error', () => {});
    channel.once('close', () => {
      this.idle = this.idle.filter((one) => one !== channel);
    });
    return channel;
  }
}

/** Closes a channel for good. Nobody waits for that. */
export function leave(channel: Channel): void {
  channel.on('error', () => {});
  try {
    void within(CLOSE_LIMIT_MS, 'closing a channel', channel.close()).catch(() => {});
  } catch {
    // It is closed already.
  }
}

function keyOf(queue: string, kind: QueueKind): string {
  return `${queue} ${typeof kind === 'string' ? kind : JSON.stringify(kind)}`;
}
