import { randomUUID } from 'node:crypto';
import { redisAddressOf } from '../core/consumer/redis-address.js';
import { textOf } from '../core/errors/errors.js';
import { optionalPackage } from '../core/optional-package.js';
import { readableUrl } from './command.js';
import type { Report } from './finding.js';

const LIMIT_MS = 5_000;
const TTL_MS = 10_000;

/** Tries the commands of consumers with `duplicates: 'redis'`, under a key of its own that expires. */
export async function checkRedis(url: string, report: Report): Promise<void> {
  const what = 'redis';
  const address = readableUrl('Redis', () => redisAddressOf(url));
  const ioredis = await optionalPackage<typeof import('ioredis')>(
    'ioredis',
    'nest-dtx doctor checks Redis',
    () => (typeof require === 'function' ? require('ioredis') : import('ioredis')),
    'install ioredis 5 or 6',
  ).catch((error: unknown) => textOf(error));
  if (typeof ioredis === 'string') return report({ what, isOk: false, text: ioredis });
  const redis = new ioredis.default({
    ...address,
    lazyConnect: true,
    connectTimeout: LIMIT_MS,
    commandTimeout: LIMIT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  let reason: unknown;
  redis.on('error', (error) => {
    reason = error;
  });
  try {
    await redis.connect();
    const key = `dtx:doctor:${randomUUID()}`;
    await redis.set(key, 'processing', 'PX', TTL_MS, 'NX');
    await redis.eval(`return redis.call('GET', KEYS[1])`, 1, key);
    await redis.del(key);
    report({ what, isOk: true, text: 'SET, GET, DEL and EVAL work' });
  } catch (error) {
    report({
      what,
      isOk: false,
      text: `${textOf(reason ?? error)}; check the address, and the rights SET, GET, DEL and EVAL`,
    });
  } finally {
    redis.disconnect();
  }
}
