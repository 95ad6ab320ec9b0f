// One short connection to a Redis server, for readiness and for the list of database numbers.
import { isIP } from 'node:net';
import { Redis } from 'ioredis';
import { serverUrlParts } from './server-url.js';

const TIMEOUT_MS = 5_000;

/** Runs `work` on a connection that is made for it. Rejects with the cause if the server cannot be reached. */
export async function withRedis<T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const { protocol, host, port, user, password, path } = serverUrlParts(url);
  const redis = new Redis({
    host,
    port,
    username: user,
    password,
    db: Number(path || 0),
    tls: protocol === 'rediss' ? { servername: isIP(host) ? undefined : host } : undefined,
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    connectTimeout: TIMEOUT_MS,
    commandTimeout: TIMEOUT_MS,
  });
  let cause: Error | null = null;
  redis.on('error', (error) => {
    cause ??= error; // a call rejects only with "Connection is closed."
  });
  try {
    await redis.connect();
    return await work(redis);
  } catch (error) {
    throw cause ?? error;
  } finally {
    redis.disconnect();
  }
}
