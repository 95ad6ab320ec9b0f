// A private RabbitMQ broker: its own home, data, cookie, port mapper and node name, so that brokers share nothing.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { makePrivateDir, writePrivateFile } from '../infra-files.js';
import type { Program } from '../process/detached-processes.js';
import type { BrokerProgram } from './installed-programs.js';
import type { ServerState } from './server-set.js';
import { leastAccount } from './unprivileged-accounts.js';

type BrokerState = Pick<ServerState, 'ports' | 'secrets' | 'nodeName'>;

/** What a node of a cluster has beside the settings of a single broker. */
export interface ClusterMember {
  /** The folder of the Erlang cookie, which all nodes share. */
  readonly home: string;
  /** Lines of `rabbitmq.conf`. */
  readonly settings: readonly string[];
  /** Parameters of the Erlang kernel. */
  readonly kernel: string;
  /** The address of its host. Without one it is on loopback. */
  readonly address?: string | undefined;
}

const LOOPBACK = '127.0.0.1';

interface BrokerPlan {
  readonly dir: string;
  readonly state: BrokerState;
  readonly program: BrokerProgram;
  readonly member?: ClusterMember;
}

/**
 * The two processes of a broker. Its port mapper (epmd) runs in the foreground on a port of its own: the one that Erlang
 * would start by itself outlives the broker and is shared by all brokers of a user. The nodes of a cluster share one.
 */
export function prepareBroker({ dir, state, program, member }: BrokerPlan): { mapper: Program; broker: Program } {
  state.nodeName ??= `dtx_${createHash('sha256').update(dir).digest('hex').slice(0, 10)}@localhost`;
  const home = member?.home ?? join(dir, 'home');
  for (const folder of [dir, home, join(dir, 'data'), join(dir, 'conf.d')]) makePrivateDir(folder);
  // The cookie lets one Erlang node command another. A cookie that Erlang makes by itself is guessed more easily.
  writePrivateFile(join(home, '.erlang.cookie'), state.secrets.cookie ?? '');
  writePrivateFile(join(dir, 'rabbitmq.conf'), settings(state, member));
  writePrivateFile(join(dir, 'enabled_plugins'), '[rabbitmq_management].\n');
  writePrivateFile(join(dir, 'rabbitmq-env.conf'), '# empty on purpose: replaces the machine-wide file\n');
  const env = environment(dir, state, { home, ...member });
  return {
    mapper: {
      command: program.epmd,
      args: ['-port', `${state.ports.epmd}`, '-address', member?.address ?? LOOPBACK],
      env,
      // It keeps nothing and asks for no password.
      account: leastAccount(['nobody'], program.epmd),
      log: join(dir, 'epmd.log'),
    },
    broker: { command: program.server, env, log: join(dir, 'server.log') },
  };
}

/** The environment of rabbitmqctl for the broker of a folder. It finds the broker by its cookie and its port mapper. */
export const environmentOfBroker = (dir: string, state: BrokerState): NodeJS.ProcessEnv =>
  environment(dir, state, { home: join(dir, 'home') });

type Member = Partial<ClusterMember>;

function settings({ ports, secrets }: BrokerState, { address = LOOPBACK, settings: more = [] }: Member = {}): string {
  return [
    `listeners.tcp.1 = ${address}:${ports.rabbitmq}`,
    `management.tcp.ip = ${address}`,
    `management.tcp.port = ${ports.management}`,
    'default_user = dtx',
    `default_pass = ${secrets.broker}`,
    'disk_free_limit.absolute = 50MB',
    'log.console = true',
    'log.file = false',
    ...more,
    '',
  ].join('\n');
}

function environment(
  dir: string,
  state: BrokerState,
  { home, kernel = '', address }: Member & { home: string },
): NodeJS.ProcessEnv {
  // Settings of the caller's shell for another broker must not reach this one. `undefined` removes a variable.
  const foreign = Object.keys(process.env).filter((key) => /^(RABBITMQ|ERL)_|^NOTIFY_SOCKET$|^XDG_/.test(key));
  return {
    ...Object.fromEntries(foreign.map((key) => [key, undefined])),
    HOME: home,
    ERL_EPMD_PORT: `${state.ports.epmd}`,
    ERL_EPMD_ADDRESS: address ?? LOOPBACK,
    RABBITMQ_NODENAME: state.nodeName,
    // The name of a node on a host of its own ends with an address, which counts as a full name of a host.
    RABBITMQ_USE_LONGNAME: address === undefined ? undefined : 'true',
    RABBITMQ_DIST_PORT: `${state.ports.dist}`,
    RABBITMQ_CONF_ENV_FILE: join(dir, 'rabbitmq-env.conf'),
    RABBITMQ_CONFIG_FILE: join(dir, 'rabbitmq.conf'),
    RABBITMQ_CONFIG_FILES: join(dir, 'conf.d', '*.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(dir, 'advanced.config'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(dir, 'enabled_plugins'),
    RABBITMQ_MNESIA_BASE: join(dir, 'data'),
    RABBITMQ_LOG_BASE: join(dir, 'log'),
    RABBITMQ_LOGS: '-',
    RABBITMQ_PID_FILE: join(dir, 'rabbitmq.pid'),
    // "Allow input" makes the script become the broker instead of staying as its parent, so that the known pid is the
    // broker's own. -noinput then takes the shell away again.
    RABBITMQ_ALLOW_INPUT: '1',
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
      `-noinput -kernel inet_dist_use_interface {${(address ?? LOOPBACK).replaceAll('.', ',')}} ${kernel}`.trimEnd(),
  };
}
