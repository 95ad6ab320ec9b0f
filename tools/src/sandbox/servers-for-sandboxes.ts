// Gives commands the known sandboxes at the present addresses of their servers, which are started if they are down.
import { join } from 'node:path';
import { firstSignal } from '../cli/first-signal.js';
import { Interrupted } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { ROOT } from '../infra-files.js';
import { withLock } from '../process/command-lock.js';
import { down, status, up } from '../servers/index.js';
import { perApp, type Servers } from '../servers/server-set.js';
import { readServers } from '../servers/server-set-files.js';
import { knownSandboxes, type SetName } from './known-sandboxes.js';
import type { Sandbox } from './sandbox.js';

/**
 * Runs `work` with the sandboxes of a set at their present addresses. Servers that are down are started for it and stopped
 * afterwards, also after Ctrl-C. Commands that start them take turns, as the first one would stop the servers of the next.
 */
export async function withSandboxes<T>(
  of: SetName,
  { say }: { say: Say },
  work: (sandboxes: Sandbox[]) => Promise<T>,
): Promise<T> {
  const sandboxes = knownSandboxes(of);
  if (sandboxes.length === 0) return work([]);
  const workAt = (servers: Servers) => work(sandboxes.map((sandbox) => atServers(sandbox, servers)));
  const lock = join(ROOT, '.infra', `${of}-borrowed.lock`);
  const borrowed = await withLock(lock, { say, what: `the servers of ${of}` }, async () =>
    (await isUp(of)) ? null : { result: await withOwnServers(of, say, workAt) },
  );
  return borrowed ? borrowed.result : workAt(readServers(of)!);
}

async function withOwnServers<T>(of: SetName, say: Say, work: (servers: Servers) => Promise<T>): Promise<T> {
  say(`the servers of ${of} are down: starting them for this`);
  const { happened } = firstSignal({ say });
  const interrupted = happened.then((signal): never => {
    throw new Interrupted(`${signal}: the servers of ${of} are down again`);
  });
  interrupted.catch(() => {}); // the race below may have ended before
  try {
    return await Promise.race([up(of, { say }).then(work), interrupted]);
  } finally {
    await down(of, { say });
  }
}

export async function isUp(of: SetName): Promise<boolean> {
  return readServers(of) !== null && (await status(of)).every((row) => row.up);
}

/** A restarted server may have another port or password. The path (database, vhost) belongs to the sandbox. */
function atServers(sandbox: Sandbox, servers: Servers): Sandbox {
  const move = (url: string, server: string) =>
    Object.assign(new URL(server), { pathname: new URL(url).pathname }).href;
  return {
    ...sandbox,
    databases: perApp((app) => move(sandbox.databases[app], servers.databases[app])),
    rabbitmq: move(sandbox.rabbitmq, servers.rabbitmq),
    management: servers.management,
    redis: move(sandbox.redis, servers.redis),
  };
}
