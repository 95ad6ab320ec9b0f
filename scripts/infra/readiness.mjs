// When a server counts as ready: it has answered what an app would ask, through the address and account an app would use.
import { setTimeout as sleep } from 'node:timers/promises';
import { amqpAnswers, management } from './broker-api.mjs';
import { ask } from './mysql-wire.mjs';
import { DATABASES, InfraError } from './place.mjs';
import { tailOf } from './processes.mjs';
import { redisCommands } from './redis-wire.mjs';

export async function probe(server, servers) {
  if (DATABASES.includes(server)) return ask(servers.databases[server], 'SELECT 1');
  if (server === 'redis') return redisCommands(servers.redis, [['PING']]);
  await amqpAnswers(servers.rabbitmq);
  return management(servers.management, 'GET', '/overview', undefined, { timeoutMs: 5_000 });
}

const BOUND_MS = 120_000;

/**
 * Waits until the server answers. `launched` (of a process that we started) ends the wait early when it has died;
 * its log's last lines then say why.
 */
export async function untilReady(
  server,
  servers,
  { say, launched = null, boundMs = BOUND_MS, since = Date.now(), verb = 'ready' },
) {
  let last = null;
  for (let told = since; Date.now() < since + boundMs; await sleep(100)) {
    try {
      await probe(server, servers);
      say(`${server} ${verb} in ${seconds(since)} s`);
      return;
    } catch (error) {
      last = error;
    }
    if (launched?.exited) break;
    if (Date.now() - told > 15_000) {
      told = Date.now();
      say(`${server} not ready after ${seconds(since)} s, still waiting (${last.message})`);
    }
  }
  const why = launched?.exited
    ? `ended at its start (${launched.exited})`
    : `was not ready after ${seconds(since)} s (${last.message})`;
  throw new InfraError(`${server} ${why}${launched ? `; the end of ${launched.log}:\n${tailOf(launched.log)}` : ''}`);
}

const seconds = (since) => ((Date.now() - since) / 1000).toFixed(1);
