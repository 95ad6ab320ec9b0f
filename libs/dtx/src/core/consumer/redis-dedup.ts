import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, Logger } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { persist } from '../async/retry-while-unavailable.js';
import type { Delivery } from '../broker/queue-consumer.js';
import { Database } from '../database/database.service.js';
import { isDoneInPart, textOf } from '../errors/errors.js';
import { failpoint } from '../failpoint.js';
import type { CoreOptions } from '../options.js';
import { measure } from '../telemetry.js';
import { CORE_OPTIONS } from '../tokens.js';
import { withGid, withTraceparent } from '../trace.js';
import { redisFailpoints } from './failpoints.js';
import { Inbox } from './inbox.js';
import { type Endpoint, type Incoming, incomingOf, type PayloadReader } from './incoming-message.js';
import { RedisClaims } from './redis-claims.js';
import { type InboxOutcome, StoredDeliveries } from './stored-deliveries.js';

/** The handler has failed, whatever its error says of itself: only the database's being away is waited for. */
class Failed extends Error {
  constructor(error: unknown) {
    super(textOf(error), { cause: error });
  }
}

/**
 * The consumer side where duplicates are known by Redis and not by an inbox row: claim, work, `done`, ack. One commit
 * less per message, and two holes that a unique index in the work's own transaction does not have:
 * - the work is committed and the process dies before `done`: once the lease has ended, it is done again;
 * - the work takes longer than the lease, or Redis forgets (restart, failover, eviction): the same.
 * So it is for effects that bear repetition, such as an absolute, versioned value. What cannot be handled falls back to
 * the inbox, which stores, retries and parks it.
 */
@Injectable()
export class OnceByRedis {
  private readonly logger = new Logger('OnceByRedis');

  constructor(
    private readonly claims: RedisClaims,
    private readonly inbox: Inbox,
    private readonly stored: StoredDeliveries,
    private readonly database: Database,
    @Inject(CORE_OPTIONS) private readonly options: CoreOptions,
  ) {}

  /** Handles one delivery to its ack. A second delivery while the first is at work waits: an ack would say that it is done. */
  async receive(delivery: Delivery, endpoint: Endpoint): Promise<void> {
    const incoming = incomingOf(delivery.message, endpoint.consumer);
    const { traceparent, gid } = incoming.info;
    await withTraceparent(traceparent, () => withGid(gid, () => this.receiveOne(delivery, incoming, endpoint)));
  }

  private async receiveOne(delivery: Delivery, incoming: Incoming, endpoint: Endpoint): Promise<void> {
    const { lost } = delivery;
    // The database may be away: the consumer waits, as for its work.
    const message = await this.persist(lost, () => this.inbox.read(incoming, endpoint));
    if (!message.ok) return this.inbox.receive(delivery, endpoint);
    const key = `dtx:${endpoint.consumer}:${incoming.info.messageId}`;
    const token = await this.claim(key, incoming, lost);
    const work = { delivery, endpoint, incoming, payload: message.payload };
    const outcome = token === null ? await this.doneBefore(work) : await this.take(work, { key, token });
    // Should the process die before the receipt, the delivery comes again, is known to be done, and is receipted then.
    await this.persist(lost, () => this.inbox.receipt(incoming, outcome));
    // guard: redis.ack
    delivery.ack();
  }

  private async take(work: Work, { key, token }: { key: string; token: string }): Promise<InboxOutcome> {
    const { delivery, endpoint, incoming } = work;
    measure('delivered', { consumer: endpoint.consumer, lagMs: this.database.ageMs(incoming.info.messageId) });
    const outcome = await this.work(work, () => this.release(key, token));
    await this.finish({ key, token }, incoming, delivery.lost);
    return outcome;
  }

  /** Done here, or left to the inbox: that has a row then, and tells its sender by itself what becomes of it. */
  private doneBefore({ delivery, incoming }: Work): Promise<InboxOutcome> {
    return this.persist(delivery.lost, () => this.stored.outcomeOf(incoming.id));
  }

  /** The token of a claim, or null when the work was done before. Waits while somebody is at it, or Redis is away. */
  private async claim(key: string, { info }: Incoming, lost: AbortSignal): Promise<string | null> {
    for (;;) {
      const claimed = await this.persist(lost, () => this.claims.claim(key, this.options.redis.leaseMs));
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
    // It may have ended the process that had it: the inbox counts that.
    if (delivery.message.fields.redelivered) return this.inbox.take(delivery, endpoint);
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
      await this.persist(delivery.lost, () => failpoint(redisFailpoints(incoming.info.scheme)?.worked, handle));
      return 'HANDLED';
    } catch (error) {
      if (delivery.lost.aborted) {
        await release();
        throw error;
      }
      this.logger.warn(
        `${endpoint.consumer} failed on ${incoming.info.messageId}, left to the inbox: ${textOf(error)}`,
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
    const { doneTtlMs } = this.options.redis;
    const step = () => this.claims.finish(key, token, doneTtlMs);
    const isOurs = await this.persist(lost, () => failpoint(redisFailpoints(info.scheme)?.done, step));
    if (!isOurs) this.logger.warn(`${info.messageId} took longer than its lease: it may have been handled twice`);
  }

  /** The delivery is lost to us and will come again: it need not wait for our lease. */
  private async release(key: string, token: string): Promise<void> {
    await this.claims.release(key, token).catch((error) => this.logger.warn(textOf(error)));
  }

  /** Redis or the database away is no attempt: the consumer waits and says so. */
  private persist<T>(lost: AbortSignal, step: () => Promise<T>): Promise<T> {
    const waiting = (error: unknown) => this.logger.warn(`waiting: ${textOf(error)}`);
    return persist({ lost, reconnect: this.options.reconnect, waiting }, step);
  }
}

interface Work {
  readonly delivery: Delivery;
  readonly endpoint: Endpoint;
  readonly incoming: Incoming;
  readonly payload: PayloadReader;
}
