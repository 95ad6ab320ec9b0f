// The nodes of a RabbitMQ cluster: their names, addresses and settings.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Say } from '../cli/say-type.js';
import type { Program } from '../process/detached-processes.js';
import type { HostNetwork } from './host-network.js';
import type { BrokerProgram } from './installed-programs.js';
import { keepOrChoosePort } from './ports.js';
import { prepareBroker } from './rabbitmq-server-setup.js';
import type { ServerState, ServerUrls } from './server-set.js';

export const NODES = ['r1', 'r2', 'r3'] as const;
export type NodeName = (typeof NODES)[number];
/** The addresses of one node, without a virtual host. */
export type NodeUrls = Pick<ServerUrls, 'rabbitmq' | 'management'>;

/** A node notices within 7.5 to 12.5 s that another one has fallen silent, instead of 60 s. */
const TICK = '-kernel net_ticktime 10';
/** An isolated node (see `isolate`) cannot tell the others of its lost connections, as in a network that is cut. */
const SILENT = '-kernel prevent_overlapping_partitions false';

const JOINING = [
  'cluster_formation.peer_discovery_backend = classic_config',
  'cluster_formation.discovery_retry_limit = 120',
  'cluster_formation.discovery_retry_interval = 500',
];

export interface Node {
  readonly name: NodeName;
  readonly dir: string;
  readonly urls: NodeUrls;
  readonly erlangName: string;
  /** Where the other nodes reach it. */
  readonly distribution: { readonly host: string; readonly port: number };
  readonly mapper: Program;
  readonly broker: Program;
}

interface NodesPlan {
  readonly program: BrokerProgram;
  /** Hosts of their own. Without them all nodes are on loopback. */
  readonly network?: HostNetwork<NodeName> | undefined;
  readonly say: Say;
}

export async function prepareNodes(dir: string, { program, network, say }: NodesPlan): Promise<Record<NodeName, Node>> {
  const secrets = { broker: randomBytes(18).toString('hex'), cookie: randomBytes(18).toString('hex') };
  const shared: ServerState = { ways: {}, ports: {}, secrets };
  await keepOrChoosePort(shared, 'epmd', say);
  const erlangName = (name: NodeName) => `${name}@${network?.addressOf(name) ?? 'localhost'}`;
  const nodes: Partial<Record<NodeName, Node>> = {};
  for (const name of NODES) {
    const state: ServerState = { ...shared, ports: { epmd: shared.ports.epmd }, nodeName: erlangName(name) };
    for (const port of ['rabbitmq', 'management', 'dist'] as const) await keepOrChoosePort(state, port, say);
    const nodeDir = join(dir, name);
    const address = network?.addressOf(name);
    const member = {
      home: join(dir, 'home'),
      settings: settingsOf(name, erlangName),
      kernel: network ? TICK : `${TICK} ${SILENT}`,
      address,
    };
    const host = address ?? '127.0.0.1';
    const at = (port: number | undefined) => `dtx:${secrets.broker}@${host}:${port}`;
    const { mapper, broker } = prepareBroker({ dir: nodeDir, state, program, member });
    nodes[name] = {
      name,
      dir: nodeDir,
      urls: { rabbitmq: `amqp://${at(state.ports.rabbitmq)}`, management: `http://${at(state.ports.management)}` },
      erlangName: erlangName(name),
      distribution: { host, port: state.ports.dist! },
      mapper: network?.on(name, mapper) ?? mapper,
      broker: network?.on(name, broker) ?? broker,
    };
  }
  return nodes as Record<NodeName, Node>;
}

/** `r1` starts first and has no peers, so the others join it and cannot form clusters of their own. */
function settingsOf(name: NodeName, erlangName: (name: NodeName) => string): string[] {
  const peers: NodeName[] = name === 'r1' ? [] : ['r1', name];
  return [
    'cluster_partition_handling = pause_minority',
    ...(peers.length > 0 ? JOINING : []),
    ...peers.map((peer, index) => `cluster_formation.classic_config.nodes.${index + 1} = ${erlangName(peer)}`),
  ];
}
