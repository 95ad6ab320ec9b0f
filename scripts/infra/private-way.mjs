// The "local" way: installed server programs, run as private servers with their data under `.infra/<name>/`.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createMissingData, prepareDatabase } from './database-server.mjs';
import { DATABASES, InfraError, kindOf, placeOf, serversOf } from './place.mjs';
import { keepOrChoosePort } from './ports.mjs';
import { endProcess, endStrays, forgetPid, killProcess, launch, pidOf, signal, strays } from './processes.mjs';
import { brokerProgram, databaseProgram, redisProgram } from './programs.mjs';
import { prepareBroker } from './rabbitmq-server.mjs';
import { untilReady } from './readiness.mjs';
import { isOpenRedis, prepareRedis } from './redis-server.mjs';

const FIND = { databases: (state) => databaseProgram(state.flavour), rabbitmq: brokerProgram, redis: redisProgram };
const PORTS = { rabbitmq: ['rabbitmq', 'management', 'epmd', 'dist'] };
const portsOf = (server) => PORTS[server] ?? [server];
const dirOf = (name, server) => join(placeOf(name), server);

/** What is missing on this machine to run these kinds of server; empty when nothing is. */
export const lackingPrograms = (state, kinds) => kinds.map((kind) => FIND[kind](state).lack).filter(Boolean);

/** Where our servers are, in containers or not: always on this machine, with our passwords. */
export function loopbackUrls(state, kind) {
  const { ports, secrets } = state;
  if (kind === 'redis') return { redis: `redis://:${secrets.redis}@127.0.0.1:${ports.redis}` };
  if (kind === 'rabbitmq') {
    const at = (port) => `dtx:${secrets.broker}@127.0.0.1:${port}`;
    return { rabbitmq: `amqp://${at(ports.rabbitmq)}`, management: `http://${at(ports.management)}` };
  }
  const url = (server) => `mysql://root:${secrets.database}@127.0.0.1:${ports[server]}`;
  return { databases: Object.fromEntries(DATABASES.map((server) => [server, url(server)])) };
}

/** Starts what does not run, in parallel, and returns once everything answers. `save` writes the state down. */
export async function startPrivate({ name, state, say, save }, kinds) {
  const context = {
    name,
    state,
    say,
    save,
    programs: Object.fromEntries(kinds.map((kind) => [kind, FIND[kind](state)])),
  };
  for (const server of serversOf(kinds)) await settlePorts(context, server);
  save();
  const data = kinds.includes('databases') ? dataFirst(context) : Promise.resolve();
  const starts = serversOf(kinds).map(async (server) => {
    if (kindOf(server) === 'databases') await data;
    return beginServer(context, server)();
  });
  throwFirst(await Promise.allSettled(starts));
}

/** An unexpected error as it is, with its stack; else all that the operator can do something about, each once. */
function throwFirst(results) {
  const reasons = results.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
  const unexpected = reasons.find((reason) => !(reason instanceof InfraError));
  if (unexpected) throw unexpected;
  if (reasons.length > 0) throw new InfraError([...new Set(reasons.map(({ message }) => message))].join('\n'));
}

async function dataFirst({ name, state, save, programs }) {
  await createMissingData(
    DATABASES.map((server) => dirOf(name, server)),
    programs.databases,
  );
  state.flavour = programs.databases.flavour; // one vendor's data folder is of no use to the other's server
  save();
}

async function settlePorts({ name, state, say }, server) {
  if (server === 'redis' && isOpenRedis(dirOf(name, server)) && (await stopServer(name, server)))
    say('redis was started without a password: starting it again with one');
  if (pidOf(dirOf(name, server), server)) return;
  await endStrays(dirOf(name, server));
  for (const port of portsOf(server)) await keepOrChoosePort(state, port, say);
}

/** Launches the server unless it runs, and returns how to wait for it. */
function beginServer({ name, state, say, save, programs }, server) {
  const dir = dirOf(name, server);
  const servers = loopbackUrls(state, kindOf(server));
  const running = pidOf(dir, server);
  if (running) {
    signal(running, 'SIGCONT'); // a test that died may have left it paused
    return () => untilReady(server, servers, { say, boundMs: 30_000, verb: 'is up already, answered' });
  }
  const since = Date.now();
  const launched = launchServer({ dir, server, state, program: programs[kindOf(server)] });
  save();
  return () => untilReady(server, servers, { say, launched, since });
}

function launchServer({ dir, server, state, program }) {
  const context = { dir, server, state, program };
  if (server === 'redis') return launch(dir, server, prepareRedis(context));
  if (server !== 'rabbitmq') return launch(dir, server, prepareDatabase(context));
  const { mapper, broker } = prepareBroker(context);
  if (!pidOf(dir, 'epmd')) launch(dir, 'epmd', mapper);
  return launch(dir, server, broker);
}

/** Ends one server and everything that came with it. Politely unless told otherwise. */
export async function stopServer(name, server, { kill = false } = {}) {
  const dir = dirOf(name, server);
  const pid = pidOf(dir, server);
  if (pid) await (kill ? killProcess(pid) : endProcess(pid));
  const mapper = pidOf(dir, 'epmd');
  if (mapper) await killProcess(mapper); // it keeps nothing, and ignores polite requests while a node is registered
  await endStrays(dir);
  for (const label of [server, 'epmd']) forgetPid(dir, label);
  if (strays(dir).length > 0)
    throw new InfraError(`${server} could not be ended: processes ${strays(dir).join(', ')} remain`);
  return pid !== null;
}

/** Every one is attempted, whatever happens to the others: what fails first must not leave the rest running. */
export async function stopPrivate(context, kinds, { wipe = false } = {}) {
  const ends = await Promise.allSettled(serversOf(kinds).map((server) => stopAndForget(context, server, wipe)));
  throwFirst(ends);
  if (wipe && kinds.includes('databases')) delete context.state.flavour;
}

async function stopAndForget({ name, state, say }, server, wipe) {
  const since = Date.now();
  if (await stopServer(name, server)) say(`${server} stopped in ${((Date.now() - since) / 1000).toFixed(1)} s`);
  if (!wipe) return;
  rmSync(dirOf(name, server), { recursive: true, force: true });
  for (const port of portsOf(server)) delete state.ports[port];
}

/** For outage tests. A start keeps the port and the data: that is what a client which has been waiting relies on. */
export const privateControl = {
  stop: ({ name }, server) => stopServer(name, server),
  kill: ({ name }, server) => stopServer(name, server, { kill: true }),
  pause: async ({ name }, server) => void signal(needPid(name, server), 'SIGSTOP'),
  resume: async ({ name }, server) => void signal(needPid(name, server), 'SIGCONT'),
  // Only the launch is exclusive, not the wait: several servers may come back at the same time.
  start: async (context, server, exclusively) =>
    (await exclusively(() => beginServer(withProgram(context, server), server)))(),
};

function needPid(name, server) {
  const pid = pidOf(dirOf(name, server), server);
  if (!pid) throw new InfraError(`${server} of ${name} does not run`);
  return pid;
}

function withProgram(context, server) {
  const kind = kindOf(server);
  const program = FIND[kind](context.state);
  if (program.lack) throw new InfraError(`${server} cannot be started again without ${program.lack}`);
  return { ...context, programs: { [kind]: program } };
}
