import { randomUUID } from 'node:crypto';
import { Inject, Injectable, OnApplicationShutdown } from '@nestjs/common';
import type { Redis } from 'ioredis';
import { backoffMs } from '../async/backoff.js';
import { OptionsError, textOf, Unavailable } from '../errors/errors.js';
import { CORE_OPTIONS } from '../injection-tokens.js';
import { libraryLogger } from '../library-logger.js';
import { optionalPackage } from '../optional-package.js';
import type { CoreOptions } from '../options.js';
import { KEEP_ALIVE_MS } from '../tcp-keep-alive.js';
import { redisAddressOf } from './redis-address.js';

/**
 * Redis is unreachable or did not answer in time. Does not count as an attempt. A claim with a lost answer expires with
 * its lease, so the call can be retried.
 */
export class RedisUnavailable extends Unavailable {}

/**
 * `claimed`: this process holds the claim until the lease expires. `busy`: another process holds it. `done`: the work
 * is done.
 */
export type Claimed = { kind: 'claimed'; token: string } | { kind: 'busy' } | { kind: 'done' };

const DONE = 'done';
const COMMAND_LIMIT_MS = 2_000;
const CONNECT_LIMIT_MS = 10_000;
const PROBE_TTL_MS = 10_000;

/** Only the holder of the claim may end it. After the lease, another process may hold it. */
const FINISH = `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1 end return 0`;
const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/**
 * Message claims in Redis: `SET key processing:<token> NX PX lease`, then `done` with a long time to live. The key is
 * never deleted after the work, because a later duplicate would be handled again. The claim is not in the transaction
 * of the work. See `OnceByRedis` for the gaps. If the process dies, the claim expires with its lease.
 */
@Injectable()
export class RedisClaims implements OnApplicationShutdown {
  private readonly logger = libraryLogger('redis');
  private redis: Redis | undefined;

  constructor(@Inject(CORE_OPTIONS) private readonly options: CoreOptions) {}

  /** Whether a consumer of this process uses Redis. */
  get isUsed(): boolean {
    return this.redis !== undefined;
  }

  get isUp(): boolean {
    return this.redis?.status === 'ready';
  }

  /**
   * Connects in the background and retries without limit.
   * @throws OptionsError if `redisUrl` is missing or ioredis is not installed
   */
  async open(who: string): Promise<void> {
    const { redisUrl } = this.options;
    if (!redisUrl)
      throw new OptionsError(`consumer ${who} uses duplicates: 'redis', but DtxModule.forRoot has no redisUrl`);
    const { default: Redis } = await optionalPackage<typeof import('ioredis')>(
      'ioredis',
      `consumer ${who} uses duplicates: 'redis'`,
      () => (typeof require === 'function' ? require('ioredis') : import('ioredis')),
      'install ioredis 5 or 6',
    );
    this.redis ??= this.connect(Redis, redisUrl);
  }

  /** All consumers share one client, so its events have one listener each. */
  private connect(Client: typeof Redis, redisUrl: string): Redis {
    // Commands fail at once while Redis is unavailable. The consumer waits and retries.
    const redis = new Client({
      ...redisAddressOf(redisUrl),
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: COMMAND_LIMIT_MS,
      connectTimeout: CONNECT_LIMIT_MS,
      keepAlive: KEEP_ALIVE_MS,
      retryStrategy: (times) => backoffMs(this.options.reconnect, times),
    });
    let reason = 'closed by the server';
    redis.on('error', (error) => (reason = textOf(error)));
    redis.on('ready', () => this.logger.log('connected'));
    redis.on('close', () =>
      this.logger.warn(
        `no connection to Redis (${reason}), reconnecting; consumers with duplicates: 'redis' are paused`,
      ),
    );
    return redis;
  }

  /** @throws RedisUnavailable */
  async claim(key: string, leaseMs: number): Promise<Claimed> {
    const token = `processing:${randomUUID()}`;
    return this.ask(async (redis) => {
      const isFirst = await redis.set(key, token, 'PX', leaseMs, 'NX');
      if (isFirst === 'OK') return { kind: 'claimed', token };
      return (await redis.get(key)) === DONE ? { kind: 'done' } : { kind: 'busy' };
    });
  }

  /**
   * Marks the work as done. Returns false if the lease had expired. Another process may have done the work too. @throws
   * RedisUnavailable
   */
  async finish(key: string, token: string, ttlMs: number): Promise<boolean> {
    return this.ask(async (redis) => (await redis.eval(FINISH, 1, key, token, DONE, ttlMs)) === 1);
  }

  /** Releases a claim without work, so that the next delivery need not wait for the lease. @throws RedisUnavailable */
  async release(key: string, token: string): Promise<void> {
    await this.ask((redis) => redis.eval(RELEASE, 1, key, token));
  }

  /**
   * Writes as `claim` and `finish` do, under a separate key.
   * @returns the reason why Redis accepts no claims, or an empty text
   */
  async probe(key: string): Promise<string> {
    try {
      await this.ask((redis) => redis.set(key, DONE, 'PX', PROBE_TTL_MS));
      await this.ask((redis) => redis.eval(FINISH, 1, key, DONE, DONE, PROBE_TTL_MS));
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  }

  onApplicationShutdown(): void {
    this.redis?.removeAllListeners('close');
    this.redis?.disconnect();
  }

  private async ask<T>(command: (redis: Redis) => Promise<T>): Promise<T> {
    try {
      return await command(this.redis!);
    } catch (error) {
      throw new RedisUnavailable(`Redis command failed: ${textOf(error)}`);
    }
  }
}
