// A server is ready once it has answered what an app would ask, through the address and account that an app would use.
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../cli/error-text.js';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { secondsSince } from '../cli/waits-and-progress.js';
import { type Launched, tailOf } from '../process/detached-processes.js';
import { management } from './broker-api.js';
import { amqpAnswers } from './broker-probe.js';
import { askDatabase } from './database-probe.js';
import { withRedis } from './redis-connection.js';
import { isApp, type Server, type ServerUrls } from './server-set.js';

/** Rejects if the server does not answer. `urls` must have those of this server. */
export async function probe(server: Server, urls: Partial<ServerUrls>): Promise<void> {
  if (isApp(server)) return askDatabase(urls.databases![server]);
  if (server === 'redis') return withRedis(urls.redis!, async (redis) => void (await redis.ping()));
  await amqpAnswers(urls.rabbitmq!);
  await management(urls.management!, 'GET', '/overview', undefined, { timeoutMs: 5_000 });
}

const BOUND_MS = 120_000;

export interface Waiting {
  readonly say: Say;
  /** The process of this server, if this command has started it. Its end ends the wait early. */
  readonly launched?: Launched | null;
  readonly boundMs?: number;
  readonly since?: number;
  readonly verb?: string;
}

/** Waits until the server answers. The error shows the end of its log. */
export async function untilReady(
  server: Server,
  urls: Partial<ServerUrls>,
  { say, launched = null, boundMs = BOUND_MS, since = Date.now(), verb = 'ready' }: Waiting,
): Promise<void> {
  let last: unknown = null;
  for (let told = since; Date.now() < since + boundMs; await sleep(100)) {
    try {
      await probe(server, urls);
      say(`${server} ${verb} in ${secondsSince(since)} s`);
      return;
    } catch (error) {
      last = error;
    }
    if (launched?.exited) break;
    if (Date.now() - told > 15_000) {
      told = Date.now();
      say(`${server} not ready after ${secondsSince(since)} s, still waiting (${messageOf(last)})`);
    }
  }
  const why = launched?.exited
    ? `ended at its start (${launched.exited})`
    : `was not ready after ${secondsSince(since)} s (${messageOf(last)})`;
  throw new OperatorError(
    `${server} ${why}${launched ? `; the end of ${launched.log}:\n${tailOf(launched.log)}` : ''}`,
  );
}
