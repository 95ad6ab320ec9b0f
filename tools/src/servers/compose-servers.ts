// DTX_INFRA=compose: the server services of docker-compose.yml, and only those, in a project of their own per name.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { codeOf, messageOf } from '../cli/error-text.js';
import { OperatorError } from '../cli/operator-error.js';
import { secondsSince } from '../cli/waits-and-progress.js';
import { ROOT } from '../infra-files.js';
import { loopbackUrls } from './local-servers.js';
import { keepOrChoosePort } from './ports.js';
import type { ServerActions } from './provisioning.js';
import { untilReady } from './readiness.js';
import {
  isApp,
  KINDS,
  type Kind,
  kindOf,
  type Ports,
  type Server,
  type ServerSet,
  type ServerState,
  serversOf,
} from './server-set.js';

const PULL_SECONDS = 300;
const PORT_VARIABLES: Partial<Record<keyof Ports, string>> = {
  order: 'DTX_ORDER_DB_PORT',
  payment: 'DTX_PAYMENT_DB_PORT',
  inventory: 'DTX_INVENTORY_DB_PORT',
  rabbitmq: 'DTX_RABBITMQ_PORT',
  management: 'DTX_RABBITMQ_MANAGEMENT_PORT',
  redis: 'DTX_REDIS_PORT',
};

/** With the clone's place in it: two clones have different passwords, so they must not share volumes. */
const projectOf = (name: string) => `nest-dtx-${name}-${createHash('sha256').update(ROOT).digest('hex').slice(0, 8)}`;
const serviceOf = (server: Server) => (isApp(server) ? `${server}-db` : server);
const servicesOf = (kinds: readonly Kind[]) => serversOf(kinds).map(serviceOf);

async function docker(
  args: readonly string[],
  { seconds = 60, env = {} }: { seconds?: number; env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  try {
    const options = { timeout: seconds * 1000, maxBuffer: 1 << 24, env: { ...process.env, ...env } };
    return (await promisify(execFile)('docker', args, options)).stdout;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw new OperatorError('docker is not installed');
    const { killed, stderr = '' } = error as { killed?: boolean; stderr?: string };
    const command = `docker ${args.filter((arg) => !arg.startsWith('-') && !arg.includes('/')).join(' ')}`;
    if (killed) throw new OperatorError(`"${command}" did not finish within ${seconds} s; see "docker compose ls"`);
    const lines = stderr.trim().split('\n').filter(Boolean);
    throw new OperatorError(`"${command}" failed: ${lines.slice(-2).join(' / ') || messageOf(error)}`);
  }
}

const compose = ({ name, state }: ServerSet, args: readonly string[], seconds?: number) =>
  docker(['compose', '-p', projectOf(name), '-f', join(ROOT, 'docker-compose.yml'), ...args], {
    seconds,
    env: environment(state),
  });

/** Ports and passwords stay the same as long as the volumes live. Port 0 has not been chosen yet. */
function environment({ ports, secrets }: ServerState): NodeJS.ProcessEnv {
  const published = Object.entries(PORT_VARIABLES).map(([port, variable]) => [
    variable,
    String(ports[port as keyof Ports] ?? 0),
  ]);
  return {
    ...Object.fromEntries(published),
    COMPOSE_PROFILES: 'single', // whatever the caller has set
    DTX_DB_PASSWORD: secrets.database,
    DTX_RABBITMQ_PASSWORD: secrets.broker,
    DTX_REDIS_PASSWORD: secrets.redis,
  };
}

/** Why Compose cannot run these servers here, or null if it can. Missing images are pulled, within a limit. */
export async function lackingForCompose(context: ServerSet, kinds: readonly Kind[]): Promise<string | null> {
  const lack = await lackingEngine();
  if (lack) return lack;
  const plugin = await docker(['compose', 'version'], { seconds: 10 }).catch((error: Error) => error);
  if (plugin instanceof Error) return 'the Compose v2 plugin';
  const other = await folderOfAnotherClone(context.name);
  if (other) return `the project name ${projectOf(context.name)}, which ${other} has in use`;
  return pullMissing(context, kinds).then(
    () => null,
    (error: unknown) => `images (${messageOf(error)})`,
  );
}

const lackingEngine = () =>
  docker(['info', '--format', '{{.ServerVersion}}'], { seconds: 10 }).then(
    () => null,
    (error: Error) => (error.message === 'docker is not installed' ? 'docker' : 'a Docker engine that answers'),
  );

/** Two copies of the repository would otherwise take each other's containers for their own. */
async function folderOfAnotherClone(name: string): Promise<string | null> {
  const filter = `label=com.docker.compose.project=${projectOf(name)}`;
  const format = '{{.Label "com.docker.compose.project.working_dir"}}';
  const folders = (await docker(['ps', '-a', '--filter', filter, '--format', format])).split('\n').filter(Boolean);
  return folders.find((folder) => folder !== ROOT) ?? null;
}

async function pullMissing(context: ServerSet, kinds: readonly Kind[]): Promise<void> {
  const images = (await compose(context, ['config', '--images', ...servicesOf(kinds)])).split('\n').filter(Boolean);
  const end = Date.now() + PULL_SECONDS * 1000;
  for (const image of new Set(images)) {
    const here = await docker(['image', 'inspect', '--format', '{{.Id}}', image]).catch(() => null);
    if (here) continue;
    context.say(`pulling ${image}`);
    await docker(['pull', '--quiet', image], { seconds: Math.max(1, Math.round((end - Date.now()) / 1000)) });
  }
}

export async function startCompose(context: ServerSet, kinds: readonly Kind[]): Promise<void> {
  const { name, state, say, save } = context;
  const since = Date.now();
  const running = new Set((await compose(context, ['ps', '--services', '--status', 'running'])).split('\n'));
  await compose(context, ['unpause', ...servicesOf(kinds)]).catch(() => {}); // a test that died may have left one paused
  for (const server of serversOf(kinds).filter((one) => !running.has(serviceOf(one)))) {
    const ports: Array<keyof Ports> = server === 'rabbitmq' ? ['rabbitmq', 'management'] : [server];
    for (const port of ports) await keepOrChoosePort(state, port, say);
  }
  state.composed = true;
  save();
  // --no-build and --no-deps in effect: the servers depend on nothing and are never built.
  await compose(context, ['up', '--detach', '--quiet-pull', ...servicesOf(kinds)], 180);
  const waits = serversOf(kinds).map((server) =>
    untilReady(server, loopbackUrls(state, kindOf(server)), { say, since }),
  );
  const failed = (await Promise.allSettled(waits)).find((result) => result.status === 'rejected');
  if (failed) {
    throw new OperatorError(
      `${messageOf(failed.reason)}\nsee docker compose -p ${projectOf(name)} logs; if its volumes are older than .infra/${name}: npm run infra -- down --wipe --of ${name}`,
    );
  }
}

export async function stopCompose(context: ServerSet, kinds: readonly Kind[], { wipe = false } = {}): Promise<void> {
  if (!context.state.composed) return;
  if (await lackingEngine())
    return context.say(`no Docker engine answers: containers of ${projectOf(context.name)}, if any, stay as they are`);
  const since = Date.now();
  try {
    if (kinds.length < KINDS.length) await compose(context, ['rm', '--stop', '--force', ...servicesOf(kinds)], 120);
    else await compose(context, ['down', '--timeout', '15', ...(wipe ? ['--volumes'] : [])], 180);
  } catch (error) {
    throw new OperatorError(`the containers of ${projectOf(context.name)} could not be stopped: ${messageOf(error)}`);
  }
  if (wipe) delete context.state.composed;
  context.say(`containers of ${projectOf(context.name)} stopped in ${secondsSince(since)} s`);
}

const toService =
  (command: string, ...options: string[]) =>
  async (context: ServerSet, server: Server) =>
    void (await compose(context, [command, ...options, serviceOf(server)], 120));

export const composeControl: ServerActions = {
  stop: toService('stop', '--timeout', '15'),
  kill: toService('kill'),
  pause: toService('pause'),
  resume: toService('unpause'),
  start: async (context, server) => {
    await compose(context, ['start', serviceOf(server)], 120);
    await untilReady(server, loopbackUrls(context.state, kindOf(server)), context);
  },
};

/** Runs rabbitmqctl in the container of the broker. */
export async function composeBrokerCtl(context: ServerSet, args: readonly string[]): Promise<void> {
  await compose(context, ['exec', '-T', serviceOf('rabbitmq'), 'rabbitmqctl', '--quiet', ...args]);
}
