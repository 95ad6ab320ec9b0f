// A RabbitMQ cluster of three nodes on loopback, for tests and measurements of what outlives the loss of a node.
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { secondsSince, until } from '../cli/waits-and-progress.js';
import { makePrivateDir } from '../infra-files.js';
import {
  endProcess,
  endStrays,
  killProcess,
  type Launched,
  launch,
  pidOf,
  tailOf,
} from '../process/detached-processes.js';
import { management } from './broker-api.js';
import type { HostNetwork } from './host-network.js';
import { neededBroker } from './needed-programs.js';
import { NODES, type Node, type NodeName, type NodeUrls, prepareNodes } from './rabbitmq-cluster-nodes.js';
import { probe } from './readiness.js';

export { NODES, type NodeName, type NodeUrls } from './rabbitmq-cluster-nodes.js';

const START_BOUND_MS = 120_000;

interface ClusterOptions {
  readonly say: Say;
  /** Hosts of their own for the nodes. Without them all are on loopback, and share a port mapper. */
  readonly network?: HostNetwork<NodeName> | undefined;
}

/**
 * Three nodes with one Erlang cookie. A node that does not see a majority pauses itself
 * (`pause_minority`). `r1` forms the cluster and the others join it at their first start.
 */
export class RabbitmqCluster {
  private constructor(
    private readonly dir: string,
    private readonly ctlProgram: string,
    private readonly nodes: Readonly<Record<NodeName, Node>>,
    private readonly network: HostNetwork<NodeName> | undefined,
  ) {}

  /**
   * Starts an empty cluster with its data in a folder. Data of an earlier cluster is removed, and its processes are ended.
   * @throws OperatorError if a program is missing and cannot be installed, or a node does not start
   */
  static async start(dir: string, { say, network }: ClusterOptions): Promise<RabbitmqCluster> {
    const program = await neededBroker('a cluster', say);
    const since = Date.now();
    for (const name of NODES) await endStrays(join(dir, name));
    await endStrays(dir);
    rmSync(dir, { recursive: true, force: true });
    makePrivateDir(dir);
    const nodes = await prepareNodes(dir, { program, network, say });
    const cluster = new RabbitmqCluster(dir, join(dirname(program.server), 'rabbitmqctl'), nodes, network);
    for (const name of network ? NODES : NODES.slice(0, 1)) launch(dir, `epmd-${name}`, nodes[name].mapper);
    const first = cluster.start('r1');
    // From then on the others find it, and ask again until it can take them in.
    await Promise.race([first, untilListening(nodes.r1.distribution)]);
    await Promise.all([first, cluster.start('r2'), cluster.start('r3')]);
    say(`a cluster of ${NODES.length} nodes is up in ${secondsSince(since)} s`);
    return cluster;
  }

  urls(name: NodeName): NodeUrls {
    return this.nodes[name].urls;
  }

  /** SIGKILL. The data stays. */
  async kill(name: NodeName): Promise<void> {
    await killProcess(this.pid(name));
    await endStrays(this.nodes[name].dir);
  }

  /** SIGTERM: the node leaves its connections and queues in good order. */
  async stop(name: NodeName): Promise<void> {
    await endProcess(this.pid(name));
    await endStrays(this.nodes[name].dir);
  }

  /** Resolves once the node answers callers and all nodes that run see it. */
  async start(name: NodeName): Promise<void> {
    const { dir, broker, urls } = this.nodes[name];
    const launched = launch(dir, 'rabbitmq', broker);
    const isUp = async () => {
      if (launched.exited) throw endedAtStart(launched);
      return (await answers(urls)) && (await this.isSeen(name));
    };
    if (!(await until(isUp, { boundMs: START_BOUND_MS, everyMs: 200 })))
      throw new OperatorError(`node ${name} of the cluster is not up after ${START_BOUND_MS / 1_000} s`);
    // It answers before it has started its last parts. A virtual host that is made meanwhile is never whole.
    await this.ctl(name, 'await_startup');
  }

  /** The nodes that run, as one of them sees it. */
  async running(at: NodeName): Promise<NodeName[]> {
    const listed = await management<Array<{ name: string; running: boolean }>>(
      this.nodes[at].urls.management,
      'GET',
      '/nodes',
    );
    const up = new Set((listed ?? []).filter(({ running }) => running).map(({ name }) => name));
    return NODES.filter((name) => up.has(this.nodes[name].erlangName));
  }

  /** Where each queue of a virtual host lives: the node of a classic queue, the leader of a quorum queue. */
  async homes(vhost: string, at: NodeName): Promise<Map<string, NodeName>> {
    const path = `/queues/${encodeURIComponent(vhost)}`;
    type Listed = { name: string; node: string; leader?: string };
    const listed = (await management<Listed[]>(this.nodes[at].urls.management, 'GET', path)) ?? [];
    return new Map(
      listed.map(({ name, node, leader }) => [
        name,
        NODES.find((one) => this.nodes[one].erlangName === (leader ?? node))!,
      ]),
    );
  }

  /** Runs rabbitmqctl against a node. */
  async ctl(at: NodeName, ...args: string[]): Promise<string> {
    const { env, log } = this.nodes[at].broker;
    const here = { command: this.ctlProgram, args: ['--quiet', ...args], log };
    const { command, args: all } = this.network?.on(at, here) ?? here;
    const { stdout } = await promisify(execFile)(command, all, {
      env: { ...process.env, ...env },
      timeout: 60_000,
    });
    return stdout;
  }

  /** A node that is lost for good leaves the cluster. Queues that only it has had are gone. */
  async forget(lost: NodeName, { at }: { at: NodeName }): Promise<void> {
    await this.ctl(at, 'forget_cluster_node', this.nodes[lost].erlangName);
  }

  /** Cuts a node off from the other nodes, which stay together. Its callers still reach it. */
  async isolate(name: NodeName): Promise<void> {
    const { others, list } = this.othersThan(name);
    const node = `'${this.nodes[name].erlangName}'`;
    // Both at once: a node that still sees the isolated one would take this for a partial partition.
    const refuse = `rpc:multicall(${list}, erlang, set_cookie, [${node}, wrong])`;
    await this.ctl(others[0]!, 'eval', `${refuse}, rpc:multicall(${list}, erlang, disconnect_node, [${node}]).`);
  }

  /** Lets an isolated node in again. Resolves as `untilBack`. */
  async rejoin(name: NodeName): Promise<void> {
    const { others, list } = this.othersThan(name);
    const admit = `rpc:multicall(${list}, erlang, set_cookie, ['${this.nodes[name].erlangName}', erlang:get_cookie()]).`;
    await this.ctl(others[0]!, 'eval', admit);
    await this.untilBack(name);
  }

  /** Resolves once a node that was cut off answers, and all nodes see it. */
  async untilBack(name: NodeName): Promise<void> {
    const isBack = async () => (await answers(this.nodes[name].urls)) && (await this.isSeen(name));
    if (await until(isBack, { boundMs: START_BOUND_MS, everyMs: 500 })) return;
    throw new OperatorError(`node ${name} of the cluster has not come back after ${START_BOUND_MS / 1_000} s`);
  }

  /** Ends every process of the cluster by SIGKILL, as its data is not needed any more. */
  async end(): Promise<void> {
    await Promise.all(NODES.map((name) => this.kill(name)));
    await Promise.all(NODES.map((name) => killProcess(pidOf(this.dir, `epmd-${name}`))));
    await endStrays(this.dir);
  }

  private othersThan(name: NodeName): { others: NodeName[]; list: string } {
    const others = NODES.filter((one) => one !== name);
    return { others, list: `[${others.map((one) => `'${this.nodes[one].erlangName}'`).join(', ')}]` };
  }

  private pid(name: NodeName): number | null {
    return pidOf(this.nodes[name].dir, 'rabbitmq');
  }

  /** Whether every node whose process lives counts this one among the running nodes. */
  private async isSeen(name: NodeName): Promise<boolean> {
    const living = NODES.filter((one) => this.pid(one) !== null && one !== name);
    const seen = await Promise.all(
      [name, ...living].map((at) => this.running(at).catch(() => (at === name ? [] : [name]))),
    );
    return seen.every((running) => running.includes(name)) && seen[0]!.length > Math.min(living.length, 1);
  }
}

async function answers(urls: NodeUrls): Promise<boolean> {
  return probe('rabbitmq', urls).then(
    () => true,
    () => false,
  );
}

const endedAtStart = ({ log, exited }: Launched) =>
  new OperatorError(`a node of the cluster ended at its start (${exited}); the end of ${log}:\n${tailOf(log)}`);

async function untilListening({ host, port }: Node['distribution']): Promise<void> {
  const isListening = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect({ port, host });
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  if (!(await until(isListening, { boundMs: START_BOUND_MS })))
    throw new OperatorError(`nothing listens on port ${port} after ${START_BOUND_MS / 1_000} s`);
}
