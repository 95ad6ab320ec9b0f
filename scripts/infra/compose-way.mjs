// The "compose" way: the server services of docker-compose.yml, and only those, in a project of their own per name.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DATABASES, InfraError, KINDS, kindOf, ROOT, serversOf } from './place.mjs';
import { keepOrChoosePort } from './ports.mjs';
import { loopbackUrls } from './private-way.mjs';
import { untilReady } from './readiness.mjs';

const PULL_SECONDS = 300;
const PORT_VARIABLES = {
  order: 'DTX_ORDER_DB_PORT',
  payment: 'DTX_PAYMENT_DB_PORT',
  inventory: 'DTX_INVENTORY_DB_PORT',
  rabbitmq: 'DTX_RABBITMQ_PORT',
  management: 'DTX_RABBITMQ_MANAGEMENT_PORT',
  redis: 'DTX_REDIS_PORT',
};

/** With the clone's place in it: two clones have different passwords, so they must not share volumes. */
const projectOf = (name) => `nest-dtx-${name}-${createHash('sha256').update(ROOT).digest('hex').slice(0, 8)}`;
const serviceOf = (server) => (DATABASES.includes(server) ? `${server}-db` : server);
const servicesOf = (kinds) => serversOf(kinds).map(serviceOf);

async function docker(args, { seconds = 60, env = {} } = {}) {
  try {
    const options = { timeout: seconds * 1000, maxBuffer: 1 << 24, env: { ...process.env, ...env } };
    return (await promisify(execFile)('docker', args, options)).stdout;
  } catch (error) {
    if (error.code === 'ENOENT') throw new InfraError('docker is not installed');
    if (error.killed) throw new InfraError(`docker ${args[0]} did not finish within ${seconds} s`);
    const said = (error.stderr ?? '').trim().split('\n').filter(Boolean);
    throw new InfraError(said.slice(-2).join(' / ') || error.message);
  }
}

const compose = ({ name, state }, args, seconds) =>
  docker(['compose', '-p', projectOf(name), '-f', join(ROOT, 'docker-compose.yml'), ...args], {
    seconds,
    env: environment(state),
  });

/** Ports and passwords are ours and stay the same as long as the volumes live; 0 is a port that nobody asked for yet. */
function environment({ ports, secrets }) {
  const published = Object.entries(PORT_VARIABLES).map(([port, variable]) => [variable, String(ports[port] ?? 0)]);
  return {
    ...Object.fromEntries(published),
    DTX_DB_PASSWORD: secrets.database,
    DTX_RABBITMQ_PASSWORD: secrets.broker,
    DTX_REDIS_PASSWORD: secrets.redis,
  };
}

/** Why Compose cannot run these servers here, or null when it can. Images that are missing are pulled, within a bound. */
export async function lackingForCompose(context, kinds) {
  const lack = await lackingEngine();
  if (lack) return lack;
  const plugin = await docker(['compose', 'version'], { seconds: 10 }).catch((error) => error);
  if (plugin instanceof Error) return 'the Compose v2 plugin';
  const other = await strangersFolder(context.name);
  if (other) return `the project name ${projectOf(context.name)}, which ${other} has in use`;
  return pullMissing(context, kinds).then(
    () => null,
    (error) => `images (${error.message})`,
  );
}

const lackingEngine = () =>
  docker(['info', '--format', '{{.ServerVersion}}'], { seconds: 10 }).then(
    () => null,
    (error) => (error.message === 'docker is not installed' ? 'docker' : 'a Docker engine that answers'),
  );

/** Two copies of the repository would otherwise take each other's containers for their own. */
async function strangersFolder(name) {
  const filter = `label=com.docker.compose.project=${projectOf(name)}`;
  const format = '{{.Label "com.docker.compose.project.working_dir"}}';
  const folders = (await docker(['ps', '-a', '--filter', filter, '--format', format])).split('\n').filter(Boolean);
  return folders.find((folder) => folder !== ROOT) ?? null;
}

async function pullMissing(context, kinds) {
  const images = (await compose(context, ['config', '--images', ...servicesOf(kinds)])).split('\n').filter(Boolean);
  const end = Date.now() + PULL_SECONDS * 1000;
  for (const image of new Set(images)) {
    const here = await docker(['image', 'inspect', '--format', '{{.Id}}', image]).catch(() => null);
    if (here) continue;
    context.say(`pulling ${image}`);
    await docker(['pull', '--quiet', image], { seconds: Math.max(1, Math.round((end - Date.now()) / 1000)) });
  }
}

export async function startCompose(context, kinds) {
  const { name, state, say, save } = context;
  const since = Date.now();
  const running = new Set((await compose(context, ['ps', '--services', '--status', 'running'])).split('\n'));
  await compose(context, ['unpause', ...servicesOf(kinds)]).catch(() => {}); // a test that died may have left one paused
  for (const server of serversOf(kinds).filter((one) => !running.has(serviceOf(one)))) {
    for (const port of server === 'rabbitmq' ? ['rabbitmq', 'management'] : [server])
      await keepOrChoosePort(state, port, say);
  }
  state.composed = true;
  save();
  // --no-build and --no-deps in effect: the servers depend on nothing and are never built.
  await compose(context, ['up', '--detach', '--quiet-pull', ...servicesOf(kinds)], 180);
  const waits = serversOf(kinds).map((server) =>
    untilReady(server, composeUrls(state, kindOf(server)), { say, since }),
  );
  const failed = (await Promise.allSettled(waits)).find(({ status }) => status === 'rejected');
  if (failed) {
    throw new InfraError(
      `${failed.reason.message}\nsee docker compose -p ${projectOf(name)} logs; if its volumes are older than .infra/${name}: npm run infra -- down --wipe --of ${name}`,
    );
  }
}

export const composeUrls = loopbackUrls;

export async function stopCompose(context, kinds, { wipe = false } = {}) {
  if (!context.state.composed) return;
  if (await lackingEngine())
    return context.say(`no Docker engine answers: containers of ${projectOf(context.name)}, if any, stay as they are`);
  const since = Date.now();
  try {
    if (kinds.length < KINDS.length) await compose(context, ['rm', '--stop', '--force', ...servicesOf(kinds)], 120);
    else await compose(context, ['down', '--timeout', '15', ...(wipe ? ['--volumes'] : [])], 180);
  } catch (error) {
    throw new InfraError(`the containers of ${projectOf(context.name)} could not be stopped: ${error.message}`);
  }
  if (wipe) delete context.state.composed;
  context.say(`containers of ${projectOf(context.name)} stopped in ${((Date.now() - since) / 1000).toFixed(1)} s`);
}

const toService =
  (command, ...options) =>
  (context, server) =>
    compose(context, [command, ...options, serviceOf(server)], 120);

export const composeControl = {
  stop: toService('stop', '--timeout', '15'),
  kill: toService('kill'),
  pause: toService('pause'),
  resume: toService('unpause'),
  start: async (context, server) => {
    await compose(context, ['start', serviceOf(server)], 120);
    await untilReady(server, composeUrls(context.state, kindOf(server)), context);
  },
};
