// DTX_INFRA=local: installed server programs, run as private servers with their data under `.infra/<name>/`.
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { OperatorError } from '../cli/operator-error.js';
import { secondsSince } from '../cli/waits-and-progress.js';
import { placeOf } from '../infra-files.js';
import {
  endProcess,
  endStrays,
  forgetPid,
  killProcess,
  type Launched,
  launch,
  pidOf,
  signal,
  strays,
} from '../process/detached-processes.js';
import { createMissingData, prepareDatabase } from './database-server-setup.js';
import {
  type BrokerProgram,
  brokerProgram,
  type DatabaseProgram,
  databaseProgram,
  isLack,
  type Lack,
  type RedisProgram,
  redisProgram,
} from './installed-programs.js';
import { keepOrChoosePort } from './ports.js';
import type { Exclusively, ServerActions } from './provisioning.js';
import { environmentOfBroker, prepareBroker } from './rabbitmq-server-setup.js';
import { untilReady } from './readiness.js';
import { isOpenRedis, prepareRedis } from './redis-server-setup.js';
import {
  DATABASES,
  isApp,
  type Kind,
  kindOf,
  type Ports,
  perApp,
  type Server,
  type ServerSet,
  type ServerState,
  type ServerUrls,
  serversOf,
} from './server-set.js';

const CTL_BOUND_MS = 60_000;

interface Programs {
  databases?: DatabaseProgram;
  rabbitmq?: BrokerProgram;
  redis?: RedisProgram;
}
/** A set of servers with the programs that run it. */
type LocalSet = ServerSet & { readonly programs: Programs };

const FIND: Record<Kind, (state: ServerState) => DatabaseProgram | BrokerProgram | RedisProgram | Lack> = {
  databases: (state) => databaseProgram(state.flavour),
  rabbitmq: brokerProgram,
  redis: redisProgram,
};
const portsOf = (server: Server): Array<keyof Ports> =>
  server === 'rabbitmq' ? ['rabbitmq', 'management', 'epmd', 'dist'] : [server];
const dirOf = (name: string, server: Server) => join(placeOf(name), server);

/** What this machine lacks to run these kinds of server. */
export const lackingPrograms = (state: ServerState, kinds: readonly Kind[]): string[] =>
  kinds
    .map((kind) => FIND[kind](state))
    .filter(isLack)
    .map(({ lack }) => lack);

function programsFor(state: ServerState, kinds: readonly Kind[], error: (lack: string) => string): Programs {
  const found = kinds.map((kind) => [kind, FIND[kind](state)] as const);
  for (const [, program] of found) if (isLack(program)) throw new OperatorError(error(program.lack));
  return Object.fromEntries(found) as Programs;
}

/** Servers of this command, in containers or not, are on this machine and have the passwords of the state. */
export function loopbackUrls(state: ServerState, kind: Kind): Partial<ServerUrls> {
  const { ports, secrets } = state;
  if (kind === 'redis') return { redis: `redis://:${secrets.redis}@127.0.0.1:${ports.redis}` };
  if (kind === 'rabbitmq') {
    const at = (port: number | undefined) => `dtx:${secrets.broker}@127.0.0.1:${port}`;
    return { rabbitmq: `amqp://${at(ports.rabbitmq)}`, management: `http://${at(ports.management)}` };
  }
  return { databases: perApp((app) => `mysql://root:${secrets.database}@127.0.0.1:${ports[app]}`) };
}

/** Starts the servers that do not run, in parallel, and returns once all of them answer. */
export async function startLocal(set: ServerSet, kinds: readonly Kind[]): Promise<void> {
  const programs = programsFor(set.state, kinds, (lack) => `cannot start ${set.name}: this machine lacks ${lack}`);
  const local: LocalSet = { ...set, programs };
  for (const server of serversOf(kinds)) await settlePorts(local, server);
  set.save();
  const data = kinds.includes('databases') ? makeData(local) : Promise.resolve();
  const starts = serversOf(kinds).map(async (server) => {
    if (kindOf(server) === 'databases') await data;
    return beginServer(local, server)();
  });
  throwFirst(await Promise.allSettled(starts));
}

/** Throws an unexpected error as it is. Otherwise throws one error with the text of each OperatorError once. */
function throwFirst(results: ReadonlyArray<PromiseSettledResult<unknown>>): void {
  const reasons: unknown[] = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  const unexpected = reasons.find((reason) => !(reason instanceof OperatorError));
  if (unexpected) throw unexpected;
  const messages = reasons.map((reason) => (reason as OperatorError).message);
  if (messages.length > 0) throw new OperatorError([...new Set(messages)].join('\n'));
}

async function makeData({ name, state, save, programs }: LocalSet): Promise<void> {
  const program = programs.databases!;
  await createMissingData(
    DATABASES.map((server) => dirOf(name, server)),
    program,
  );
  state.flavour = program.flavour; // the server of another vendor cannot use this data
  save();
}

async function settlePorts({ name, state, say }: LocalSet, server: Server): Promise<void> {
  if (server === 'redis' && isOpenRedis(dirOf(name, server)) && (await stopServer(name, server)))
    say('redis was started without a password: starting it again with one');
  if (pidOf(dirOf(name, server), server)) return;
  await endStrays(dirOf(name, server));
  for (const port of portsOf(server)) await keepOrChoosePort(state, port, say);
}

/** Launches the server unless it runs, and returns how to wait for it. */
function beginServer({ name, state, say, save, programs }: LocalSet, server: Server): () => Promise<void> {
  const dir = dirOf(name, server);
  const urls = loopbackUrls(state, kindOf(server));
  const running = pidOf(dir, server);
  if (running) {
    signal(running, 'SIGCONT'); // a test that died may have left it paused
    return () => untilReady(server, urls, { say, boundMs: 30_000, verb: 'is up already, answered' });
  }
  const since = Date.now();
  const launched = launchServer(dir, server, state, programs);
  save();
  return () => untilReady(server, urls, { say, launched, since });
}

function launchServer(dir: string, server: Server, state: ServerState, programs: Programs): Launched {
  if (server === 'redis') return launch(dir, server, prepareRedis({ dir, state, program: programs.redis! }));
  if (isApp(server)) return launch(dir, server, prepareDatabase({ dir, server, state, program: programs.databases! }));
  const { mapper, broker } = prepareBroker({ dir, state, program: programs.rabbitmq! });
  if (!pidOf(dir, 'epmd')) launch(dir, 'epmd', mapper);
  return launch(dir, server, broker);
}

/** Ends one server and the processes that came with it, by SIGTERM unless `kill`. False if it did not run. */
export async function stopServer(name: string, server: Server, { kill = false } = {}): Promise<boolean> {
  const dir = dirOf(name, server);
  const pid = pidOf(dir, server);
  if (pid) await (kill ? killProcess(pid) : endProcess(pid));
  const mapper = pidOf(dir, 'epmd');
  if (mapper) await killProcess(mapper); // it has no data, and ignores SIGTERM while a node is registered
  await endStrays(dir);
  for (const label of [server, 'epmd']) forgetPid(dir, label);
  if (strays(dir).length > 0)
    throw new OperatorError(`${server} could not be ended: processes ${strays(dir).join(', ')} remain`);
  return pid !== null;
}

/** Tries to stop every server: a first failure must not leave the rest running. */
export async function stopLocal(set: ServerSet, kinds: readonly Kind[], { wipe = false } = {}): Promise<void> {
  const ends = await Promise.allSettled(serversOf(kinds).map((server) => stopAndForget(set, server, wipe)));
  throwFirst(ends);
  if (wipe && kinds.includes('databases')) delete set.state.flavour;
}

async function stopAndForget({ name, state, say }: ServerSet, server: Server, wipe: boolean): Promise<void> {
  const since = Date.now();
  if (await stopServer(name, server)) say(`${server} stopped in ${secondsSince(since)} s`);
  if (!wipe) return;
  rmSync(dirOf(name, server), { recursive: true, force: true });
  for (const port of portsOf(server)) delete state.ports[port];
}

/** For outage tests. A start keeps port and data, because waiting clients rely on both. */
export const localControl: ServerActions = {
  stop: async ({ name }, server) => void (await stopServer(name, server)),
  kill: async ({ name }, server) => void (await stopServer(name, server, { kill: true })),
  pause: async ({ name }, server) => void signal(needPid(name, server), 'SIGSTOP'),
  resume: async ({ name }, server) => void signal(needPid(name, server), 'SIGCONT'),
  start: startAgain,
};

/** Only the launch is exclusive, not the wait: several servers may come back at the same time. */
async function startAgain(set: ServerSet, server: Server, exclusively: Exclusively): Promise<void> {
  const lacking = (lack: string) => `${server} cannot be started again without ${lack}`;
  const local: LocalSet = { ...set, programs: programsFor(set.state, [kindOf(server)], lacking) };
  const wait = await exclusively(() => beginServer(local, server));
  await wait();
}

/** Runs rabbitmqctl in the broker of a set. Its start alone takes seconds on a busy machine. */
export async function localBrokerCtl({ name, state }: ServerSet, args: readonly string[]): Promise<void> {
  const { rabbitmq } = programsFor(state, ['rabbitmq'], (lack) => `rabbitmqctl cannot run without ${lack}`);
  const env = { ...process.env, ...environmentOfBroker(dirOf(name, 'rabbitmq'), state) };
  await promisify(execFile)(join(dirname(rabbitmq!.server), 'rabbitmqctl'), ['--quiet', ...args], {
    env,
    timeout: CTL_BOUND_MS,
  });
}

function needPid(name: string, server: Server): number {
  const pid = pidOf(dirOf(name, server), server);
  if (!pid) throw new OperatorError(`${server} of ${name} does not run`);
  return pid;
}
