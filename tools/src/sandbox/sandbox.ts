// A sandbox: three databases, a vhost and a Redis database number on shared servers. The demo and each test file have a
// sandbox of their own and see nothing of the others.
import { type Connection, createConnection } from 'mysql2/promise';
import { messageOf } from '../cli/error-text.js';
import { OperatorError } from '../cli/operator-error.js';
import { until } from '../cli/waits-and-progress.js';
import { management } from '../servers/broker-api.js';
import { withRedis } from '../servers/redis-connection.js';
import { type App, DATABASES, perApp, type ServerUrls } from '../servers/server-set.js';
import { serverUrlParts } from '../servers/server-url.js';
import { dropDatabase } from './drop-database.js';

/** The URLs are those that the apps take. */
export interface Sandbox {
  name: string;
  databases: Record<App, string>;
  rabbitmq: string;
  management: string;
  vhost: string;
  redis: string;
}

/** Makes the sandbox from scratch. With `fresh: false` existing data is kept. */
export async function createSandbox(servers: ServerUrls, name: string, { fresh = true } = {}): Promise<Sandbox> {
  const sandbox = describe(servers, name);
  const databases = DATABASES.map((app) =>
    onServer(servers.databases[app], async (connection) => {
      if (fresh) await dropDatabase(connection, databaseOf(name, app));
      await connection.query(`CREATE DATABASE IF NOT EXISTS \`${databaseOf(name, app)}\` CHARACTER SET utf8mb4`);
    }),
  );
  const [number] = await Promise.all([
    takeRedisNumber(servers.redis, name, fresh),
    createVhost(servers, sandbox.vhost, fresh),
    ...databases,
  ]);
  return { ...sandbox, redis: withPath(servers.redis, number) };
}

export async function dropSandbox(servers: ServerUrls, name: string): Promise<void> {
  const { vhost } = describe(servers, name);
  await Promise.all([
    ...DATABASES.map((app) =>
      onServer(servers.databases[app], (connection) => dropDatabase(connection, databaseOf(name, app))),
    ),
    removeVhost(servers, vhost),
    releaseRedisNumber(servers.redis, name),
  ]);
}

const databaseOf = (name: string, app: App) => `dtx_${name}_${app}`;

function describe(servers: ServerUrls, name: string): Omit<Sandbox, 'redis'> {
  if (!/^[a-z0-9_]{1,40}$/.test(name))
    throw new OperatorError(`"${name}" cannot name a sandbox: use 1 to 40 of a-z, 0-9 and _`);
  const vhost = `dtx_${name}`;
  return {
    name,
    databases: perApp((app) => withPath(servers.databases[app], databaseOf(name, app))),
    rabbitmq: withPath(servers.rabbitmq, encodeURIComponent(vhost)),
    management: servers.management,
    vhost,
  };
}

/** Keeps the rest of the URL as given, such as the encoded password and options for TLS. */
function withPath(url: string, path: string | number): string {
  const changed = new URL(url);
  changed.pathname = `/${path}`;
  return changed.href;
}

async function onServer<T>(url: string, work: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await createConnection(url).catch((error: unknown) => {
    throw new OperatorError(`cannot connect to the database server at ${new URL(url).host}: ${messageOf(error)}`);
  });
  try {
    return await work(connection);
  } finally {
    await connection.end();
  }
}

async function createVhost(servers: ServerUrls, vhost: string, fresh: boolean): Promise<void> {
  if (fresh) await removeVhost(servers, vhost);
  const path = encodeURIComponent(vhost);
  const user = encodeURIComponent(serverUrlParts(servers.rabbitmq).user ?? 'guest');
  const everything = { configure: '.*', write: '.*', read: '.*' };
  await management(servers.management, 'PUT', `/vhosts/${path}`, {}, { timeoutMs: 60_000 });
  await management(servers.management, 'PUT', `/permissions/${path}/${user}`, everything);
}

async function removeVhost(servers: ServerUrls, vhost: string): Promise<void> {
  const path = encodeURIComponent(vhost);
  await untilDeadLettersSettled(servers.management, path);
  await management(servers.management, 'DELETE', `/vhosts/${path}`, undefined, { timeoutMs: 60_000, allow: [404] });
}

const FRESH_MS = 30_000;
const SETTLED_BOUND_MS = 20_000;

interface Node {
  uptime: number;
}
interface ListedQueue {
  arguments?: Record<string, unknown>;
  messages?: number;
}

/**
 * RabbitMQ's dead-letter workers have a supervisor that ends for good at the second crash within 5 s
 * (rabbit_fifo_dlx_sup). A worker that has just been started crashes twice when its queue is deleted, and all workers start
 * with the broker. So the queues are left alone until their first figures exist, which come with the tick after their
 * election. There is no wait if the broker has been up for a while.
 */
async function untilDeadLettersSettled(url: string, path: string): Promise<void> {
  const nodes = await management<Node[]>(url, 'GET', '/nodes');
  if (nodes?.every(({ uptime }) => uptime > FRESH_MS)) return;
  const isSettled = (queue: ListedQueue) =>
    queue.arguments?.['x-dead-letter-strategy'] !== 'at-least-once' || queue.messages !== undefined;
  const look = async () => {
    const answer = management<ListedQueue[]>(url, 'GET', `/queues/${path}`, undefined, { allow: [404] });
    // The list of a broker that has just started is 500 for a moment.
    const queues = await answer.catch((error: { status?: number }) => {
      if (error.status !== 500) throw error;
      return [{ arguments: { 'x-dead-letter-strategy': 'at-least-once' } }];
    });
    return (queues ?? []).every(isSettled);
  };
  await until(look, { boundMs: SETTLED_BOUND_MS, everyMs: 250 });
}

// The list of numbers is in Redis itself, in database 0: all users of the server share it.
const NUMBERS = 'dtx:sandboxes';

/** The sandbox's own number if it has one, otherwise the lowest free number. 0 if all are taken. */
const TAKE = `
local own = redis.call('HGET', KEYS[1], ARGV[1])
if own then return tonumber(own) end
local taken = {}
for _, number in ipairs(redis.call('HVALS', KEYS[1])) do taken[tonumber(number)] = true end
for number = 1, tonumber(ARGV[2]) - 1 do
  if not taken[number] then
    redis.call('HSET', KEYS[1], ARGV[1], number)
    return number
  end
end
return 0`;

/** A managed Redis may refuse CONFIG. */
const USUAL_DATABASES = 16;

async function takeRedisNumber(url: string, name: string, fresh: boolean): Promise<number> {
  return withRedis(withPath(url, 0), async (redis) => {
    const databases = await redis.config('GET', 'databases').then(
      (answer) => Number((answer as string[])[1]),
      () => USUAL_DATABASES,
    );
    const number = Number(await redis.eval(TAKE, 1, NUMBERS, name, databases));
    if (number === 0)
      throw new OperatorError(
        `all ${databases - 1} databases of Redis at ${new URL(url).host} are taken by sandboxes; ` +
          'free them with "npm run infra -- down --wipe", or raise "databases" of that server',
      );
    if (fresh) await redis.multi().select(number).flushdb().exec();
    return number;
  });
}

async function releaseRedisNumber(url: string, name: string): Promise<void> {
  await withRedis(withPath(url, 0), async (redis) => {
    const number = await redis.hget(NUMBERS, name);
    if (number === null) return;
    await redis.multi().hdel(NUMBERS, name).select(Number(number)).flushdb().exec();
  });
}
