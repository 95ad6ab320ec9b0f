import { randomUUID } from 'node:crypto';
import { Inject, Injectable, Logger, OnApplicationShutdown } from '@nestjs/common';
import type { Redis, RedisOptions } from 'ioredis';
import { backoffMs } from '../async/backoff.js';
import { OptionsError, textOf, Unavailable } from '../errors/errors.js';
import { KEEP_ALIVE_MS } from '../keep-alive.js';
import type { CoreOptions } from '../options.js';
import { parseServerUrl } from '../server-url.js';
import { CORE_OPTIONS } from '../tokens.js';

/**
 * Redis cannot be reached, or has not answered in time. Not an attempt: wait. A claim whose answer was lost ends with its
 * lease, so that the same call may be repeated.
 */
export class RedisUnavailable extends Unavailable {}

/** `claimed`: the work is ours until the lease ends. `busy`: somebody is at it. `done`: it was done. */
export type Claimed = { kind: 'claimed'; token: string } | { kind: 'busy' } | { kind: 'done' };

const DONE = 'done';
const COMMAND_LIMIT_MS = 2_000;
const CONNECT_LIMIT_MS = 10_000;
const PROBE_TTL_MS = 10_000;

/** Only whoever still holds the claim may end it: after the lease another may have begun. */
const FINISH = `if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1 end return 0`;
const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/**
 * Claims in Redis: `SET key processing:<token> NX PX lease`, then `done` with a long time to live (seed: setnx). Never
 * deleted once the work is done, or a duplicate that comes after that would be worked again. It is not one transaction
 * with the work, as a unique index is: see `OnceByRedis` for what that leaves open.
 */
@Injectable()
export class RedisClaims implements OnApplicationShutdown {
  private readonly logger = new Logger('Redis');
  private redis: Redis | undefined;

  constructor(@Inject(CORE_OPTIONS) private readonly options: CoreOptions) {}

  /** Whether anybody here keeps claims in Redis. */
  get isUsed(): boolean {
    return this.redis !== undefined;
  }

  get isUp(): boolean {
    return this.redis?.status === 'ready';
  }

  /**
   * Connects, in the background and for as long as it takes.
   * @throws OptionsError when there is no `redisUrl`, or the package is not installed
   */
  async open(who: string): Promise<void> {
    const { redisUrl } = this.options;
    if (!redisUrl) throw new OptionsError(`consumer ${who} knows duplicates by Redis, and the core has no redisUrl`);
    const { Redis } = await import('ioredis').catch((error) => {
      throw new OptionsError(`consumer ${who} knows duplicates by Redis: install ioredis 5 (${textOf(error)})`);
    });
    // Nothing is queued while it is away: whoever asks waits and asks again, and says so.
    this.redis ??= new Redis({
      ...addressOf(redisUrl),
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: COMMAND_LIMIT_MS,
      connectTimeout: CONNECT_LIMIT_MS,
      keepAlive: KEEP_ALIVE_MS,
      retryStrategy: (times) => backoffMs(this.options.reconnect, times),
    }).on('error', () => {}); // said by `close`, and by whoever asks
    this.redis.on('ready', () => this.logger.log('connected'));
    this.redis.on('close', () => this.logger.warn('redis is away, trying on: those who know duplicates by it wait'));
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

  /** The work is done. False when the lease had ended: another may have worked as well. @throws RedisUnavailable */
  async finish(key: string, token: string, ttlMs: number): Promise<boolean> {
    return this.ask(async (redis) => (await redis.eval(FINISH, 1, key, token, DONE, ttlMs)) === 1);
  }

  /** The work was not done: the next delivery need not wait for the lease. @throws RedisUnavailable */
  async release(key: string, token: string): Promise<void> {
    await this.ask((redis) => redis.eval(RELEASE, 1, key, token));
  }

  /**
   * Writes as `claim` and `finish` do, under a key that nothing else uses.
   * @returns why Redis takes no claims, or an empty text
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
      throw new RedisUnavailable(`redis: ${textOf(error)}`);
    }
  }
}

/** As an object, like every server's address. The options of the URL are those of ioredis. */
function addressOf(url: string): RedisOptions {
  const { protocol, host, port, user, password, path, query } = parseServerUrl('redis', url);
  const { family, ...named } = query;
  return {
    ...named,
    ...(family ? { family: Number(family) } : {}),
    host,
    port,
    username: user,
    password,
    db: Number(path || 0),
    ...(protocol === 'rediss' ? { tls: {} } : {}),
  };
}
