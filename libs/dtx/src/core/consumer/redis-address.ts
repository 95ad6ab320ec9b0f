import { parseServerUrl } from '../server-url.js';

/**
 * The options of ioredis for the URL of Redis, as an object like every server address. The query parameters are options of
 * ioredis too.
 */
export function redisAddressOf(url: string) {
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
