import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { retryWhileUnavailable } from '../async/retry-while-unavailable.js';
import type { Delivery } from '../broker/queue-consumer.js';
import { Database } from '../database/database.service.js';
import { isDoneInPart, textOf } from '../errors/errors.js';
import { failpoint } from '../failpoint.js';
import { isDelayedId } from '../ids.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import { libraryLogger } from '../library-logger.js';
import type { CoreOptions } from '../options.js';
import { emit } from '../telemetry-events.js';
import { withGid, withTraceparent } from '../trace-and-gid-context.js';
import { redisFailpoints } from './failpoints.js';
import { Inbox } from './handle-by-inbox.js';
import {
  type Checked,
  type Endpoint,
  INBOX_SLACK_MS,
  type Incoming,
  incomingOf,
  lagOf,
  type PayloadReader,
  type Read,
} from './incoming-message.js';
import { RedisClaims } from './redis-claims.js';
import { type InboxOutcome, StoredDeliveries } from './store-or-park-delivery.js';

/** The handler failed. Only an unavailable own database makes the delivery wait. */
class Failed extends Error {
  constructor(error: unknown) {
    super(textOf(error), { cause: error });
  }
}

/**
 * The consumer side with duplicate detection by Redis instead of an inbox row: claim, work, `done`, ack. It saves one
 * commit per message. A unique index in the transaction of the work has none of these two gaps:
 * - The process dies between the commit of the work and `done`. The work runs again when the lease expires.
 * - The work takes longer than the lease, or Redis loses the key (restart, failover, eviction). The work runs again.
 * So the effect must be idempotent, such as an absolute, versioned value. A delivery that fails goes to the inbox,
 * which stores, retries and parks it.
 */
@Injectable()
export class OnceByRedis {
  private readonly logger = libraryLogger('redis inbox');

  constructor(
    private readonly claims: RedisClaims,
    private readonly inbox: Inbox,
    private readonly stored: StoredDeliveries,
    private readonly database: Database,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  /**
   * Handles one delivery up to its ack. A duplicate waits while the first delivery is in work, because its ack would
   * mean done.
   */
  async receive(delivery: Delivery, endpoint: Endpoint): Promise<void> {
    const incoming = incomingOf(delivery.message, endpoint.consumer);
    const { traceparent, gid } = incoming.info;
    await withTraceparent(traceparent, () => withGid(gid, () => this.receiveOne(delivery, incoming, endpoint)));
  }

  private async receiveOne(delivery: Delivery, incoming: Incoming, endpoint: Endpoint): Promise<void> {
    const { lost } = delivery;
    // The delivery waits while the database is unavailable.
    const { messageId } = incoming.info;
    // The schema is code of the user and may kill the process. A redelivery is read by the inbox, which counts that.
    const look = (): Promise<Checked | Read> =>
      delivery.message.fields.redelivered ? this.inbox.check(incoming, endpoint) : this.inbox.read(incoming, endpoint);
    const message = await this.retryWhileUnavailable(messageId, lost, look);
    // The sender of a delayed message may take its place in the inbox, to withdraw it.
    if (!message.ok || isDelayedId(messageId)) return this.inbox.receive(delivery, endpoint);
    const key = `${this.options.queuePrefix}:${endpoint.consumer}:${incoming.info.messageId}`;
    const token = await this.claim(key, incoming, lost);
    const work = { delivery, endpoint, incoming, payload: 'payload' in message ? message.payload : undefined };
    const outcome = token === null ? await this.doneBefore(work) : await this.take(work, { key, token });
    // If the process dies before the receipt, the redelivery finds `done` and is receipted.
    await this.retryWhileUnavailable(messageId, lost, () => this.inbox.receipt(incoming, outcome));
    // guard: redis.ack
    delivery.ack();
  }

  private async take(work: Work, { key, token }: { key: string; token: string }): Promise<InboxOutcome> {
    const { delivery, endpoint, incoming } = work;
    emit('delivered', { consumer: endpoint.consumer, lagMs: lagOf(incoming, this.database) });
    const outcome = await this.work(work, () => this.release(key, token));
    await this.finish({ key, token }, incoming, delivery.lost);
    return outcome;
  }

  /** The outcome of a message that is done here or was passed to the inbox. The inbox sends its receipts itself. */
  private doneBefore({ delivery, incoming }: Work): Promise<InboxOutcome> {
    const { messageId } = incoming.info;
    return this.retryWhileUnavailable(messageId, delivery.lost, () => this.stored.outcomeOf(incoming.id));
  }

  /**
   * Returns the token of a claim, or null if the work is done. Waits while another process holds the claim or Redis is
   * unavailable.
   */
  private async claim(key: string, { info }: Incoming, lost: AbortSignal): Promise<string | null> {
    for (;;) {
      const step = () => this.claims.claim(key, this.options.redis.leaseMs);
      const claimed = await this.retryWhileUnavailable(info.messageId, lost, step);
      if (claimed.kind === 'claimed')
        return failpoint(redisFailpoints(info.scheme)?.claimed, async () => claimed.token);
      if (claimed.kind === 'done') return null;
      await sleep(this.options.redis.pollMs, undefined, { signal: lost });
    }
  }

  private async work(
    { delivery, endpoint, incoming, payload }: Work,
    release: () => Promise<void>,
  ): Promise<InboxOutcome> {
    // A redelivery may have killed its process. The inbox counts that as an attempt.
    if (!payload) return this.inbox.take(delivery, endpoint);
    const unit = {
      what: `@OnMessage(${incoming.type}) of ${endpoint.consumer}`,
      consumer: endpoint.consumer,
      run: (tx: EntityManager) => endpoint.handle(tx, payload, incoming.info),
    };
    const handle = () =>
      this.database.work.run(unit).catch(async (error) => {
        throw (await this.database.isAway(error)) ? error : new Failed(error);
      });
    try {
      await this.retryWhileUnavailable(incoming.info.messageId, delivery.lost, () =>
        failpoint(redisFailpoints(incoming.info.scheme)?.worked, handle),
      );
      return 'HANDLED';
    } catch (error) {
      if (delivery.lost.aborted) {
        await release();
        throw error;
      }
      this.logger.warn(
        `${endpoint.consumer} failed on ${incoming.info.messageId}, passed to the inbox: ${textOf(error)}`,
      );
      if (isDoneInPart(error)) return this.stored.parkInPart(incoming, endpoint, error);
      return this.inbox.take(delivery, endpoint);
    }
  }

  private async finish(
    { key, token }: { key: string; token: string },
    { info }: Incoming,
    lost: AbortSignal,
  ): Promise<void> {
    const { redis, inbox } = this.options;
    // A message is handled up to this age. A duplicate of it must find the mark, or it would be handled again.
    const doneTtlMs = Math.max(redis.doneTtlMs, inbox.retentionMs + INBOX_SLACK_MS);
    const step = () => failpoint(redisFailpoints(info.scheme)?.done, () => this.claims.finish(key, token, doneTtlMs));
    const isOurs = await this.retryWhileUnavailable(info.messageId, lost, step);
    if (!isOurs)
      this.logger.warn(
        `${info.messageId} took longer than redis.leaseMs (${this.options.redis.leaseMs} ms) and may have been handled twice; increase redis.leaseMs`,
      );
  }

  /** Releases the claim of a lost delivery, so that the redelivery need not wait for the lease. */
  private async release(key: string, token: string): Promise<void> {
    await this.claims
      .release(key, token)
      .catch((error) => this.logger.warn(`cannot release ${key}, it expires with its lease: ${textOf(error)}`));
  }

  /** Waits while Redis, the broker or the database is unavailable, without counting an attempt. */
  private retryWhileUnavailable<T>(messageId: string, lost: AbortSignal, step: () => Promise<T>): Promise<T> {
    const waiting = (error: unknown) =>
      this.logger.warn(`${messageId} waits, since Redis, RabbitMQ or the database is unavailable: ${textOf(error)}`);
    return retryWhileUnavailable({ lost, reconnect: this.options.reconnect, waiting }, step);
  }
}

interface Work {
  readonly delivery: Delivery;
  readonly endpoint: Endpoint;
  readonly incoming: Incoming;
  /** Undefined for a redelivery. */
  readonly payload: PayloadReader | undefined;
}
