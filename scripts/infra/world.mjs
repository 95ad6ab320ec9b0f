// A world: three databases, a vhost and a Redis database number on servers that are shared, so that the demo and each
// test file have their own and see nothing of one another.
import { createConnection } from 'mysql2/promise';
import { until } from '../command/deadline.mjs';
import { management } from './broker-api.mjs';
import { DATABASES, InfraError } from './place.mjs';
import { redisCommands } from './redis-wire.mjs';
import { serverUrlParts } from './server-url.mjs';
import { dropDatabase } from './world-database.mjs';

/**
 * @typedef {{ name: string, databases: { order: string, payment: string, inventory: string }, rabbitmq: string,
 *   management: string, vhost: string, redis: string }} World the very URLs that the apps take
 */

/**
 * Makes the world, from scratch unless `fresh` is false (then what exists is kept).
 *
 * @returns {Promise<World>}
 */
export async function createWorld(servers, worldName, { fresh = true } = {}) {
  const world = describe(servers, worldName);
  const databases = DATABASES.map((app) =>
    onServer(servers.databases[app], async (connection) => {
      if (fresh) await dropDatabase(connection, databaseOf(worldName, app));
      await connection.query(`CREATE DATABASE IF NOT EXISTS \`${databaseOf(worldName, app)}\` CHARACTER SET utf8mb4`);
    }),
  );
  const [number] = await Promise.all([
    takeRedisNumber(servers.redis, worldName, fresh),
    createVhost(servers, world.vhost, fresh),
    ...databases,
  ]);
  return { ...world, redis: withPath(servers.redis, number) };
}

export async function dropWorld(servers, worldName) {
  const { vhost } = describe(servers, worldName);
  await Promise.all([
    ...DATABASES.map((app) =>
      onServer(servers.databases[app], (connection) => dropDatabase(connection, databaseOf(worldName, app))),
    ),
    removeVhost(servers, vhost),
    releaseRedisNumber(servers.redis, worldName),
  ]);
}

const databaseOf = (worldName, app) => `dtx_${worldName}_${app}`;

function describe(servers, worldName) {
  if (!/^[a-z0-9_]{1,40}$/.test(worldName))
    throw new InfraError(`"${worldName}" cannot name a world: use 1 to 40 of a-z, 0-9 and _`);
  const vhost = `dtx_${worldName}`;
  return {
    name: worldName,
    databases: Object.fromEntries(
      DATABASES.map((app) => [app, withPath(servers.databases[app], databaseOf(worldName, app))]),
    ),
    rabbitmq: withPath(servers.rabbitmq, encodeURIComponent(vhost)),
    management: servers.management,
    vhost,
  };
}

/** Keeps everything else of the URL as it was given: the encoded password, and options such as those for TLS. */
function withPath(url, path) {
  const changed = new URL(url);
  changed.pathname = `/${path}`;
  return changed.href;
}

async function onServer(url, work) {
  const connection = await createConnection(url).catch((error) => {
    throw new InfraError(`no connection to the database server at ${new URL(url).host}: ${error.message}`);
  });
  try {
    return await work(connection);
  } finally {
    await connection.end();
  }
}

async function createVhost(servers, vhost, fresh) {
  if (fresh) await removeVhost(servers, vhost);
  const path = encodeURIComponent(vhost);
  const user = encodeURIComponent(serverUrlParts(servers.rabbitmq).user ?? 'guest');
  await management(servers.management, 'PUT', `/vhosts/${path}`, {}, { timeoutMs: 60_000 });
  await management(servers.management, 'PUT', `/permissions/${path}/${user}`, {
    configure: '.*',
    write: '.*',
    read: '.*',
  });
}

async function removeVhost(servers, vhost) {
  const path = encodeURIComponent(vhost);
  await untilDeadLettersSettled(servers, path);
  await management(servers.management, 'DELETE', `/vhosts/${path}`, undefined, { timeoutMs: 60_000, allow: [404] });
}

const FRESH_MS = 30_000;
const SETTLED_BOUND_MS = 20_000;

/**
 * RabbitMQ's dead-letter workers have a supervisor that ends for good at the second crash within 5 s
 * (rabbit_fifo_dlx_sup), and a worker that has just been started crashes twice when its queue is deleted. All of them are
 * started when the broker is: so queues of that kind are left alone until their first figures are there, which come with
 * the tick after their election. With a broker that has been up for a while nobody waits.
 */
async function untilDeadLettersSettled({ management: url }, path) {
  const nodes = await management(url, 'GET', '/nodes');
  if (nodes.every(({ uptime }) => uptime > FRESH_MS)) return;
  const isSettled = (queue) =>
    queue.arguments?.['x-dead-letter-strategy'] !== 'at-least-once' || queue.messages !== undefined;
  const look = async () => {
    const queues = await management(url, 'GET', `/queues/${path}`, undefined, { allow: [404] });
    return (queues ?? []).every(isSettled);
  };
  await until(look, { boundMs: SETTLED_BOUND_MS, everyMs: 250 });
}

// The numbers are kept in Redis itself, in database 0, because whoever shares the server must share the list.
const NUMBERS = 'dtx:worlds';

/** The world's own number if it has one, else the lowest that no other world has; 0 when all are taken. */
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

async function takeRedisNumber(redis, worldName, fresh) {
  const list = withPath(redis, 0);
  const databases = await redisCommands(list, [['CONFIG', 'GET', 'databases']])
    .then(([[, count]]) => Number(count))
    .catch(() => 16); // a managed Redis may refuse CONFIG; 16 is what Redis has unless told otherwise
  const [number] = await redisCommands(list, [['EVAL', TAKE, 1, NUMBERS, worldName, databases]]);
  if (number === 0)
    throw new InfraError(
      `all ${databases - 1} Redis databases are taken by worlds: drop one, or raise "databases" of the server`,
    );
  if (fresh) await redisCommands(withPath(redis, number), [['FLUSHDB']]);
  return number;
}

async function releaseRedisNumber(redis, worldName) {
  const list = withPath(redis, 0);
  const [number] = await redisCommands(list, [['HGET', NUMBERS, worldName]]);
  if (number === null) return;
  await redisCommands(withPath(redis, number), [['FLUSHDB']]);
  await redisCommands(list, [['HDEL', NUMBERS, worldName]]);
}
