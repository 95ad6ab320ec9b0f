// A Galera cluster of three MariaDB nodes on loopback, for tests of what outlives the loss of a node or of the majority.
import { execFile } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createConnection } from 'mysql2/promise';
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
import { createMissingData } from './database-server-setup.js';
import { GALERA_NODES, type GaleraNode, type Member, prepareMembers } from './galera-nodes.js';
import { writeStateTransfer } from './galera-state-transfer.js';
import { neededGalera, neededMariaDb } from './needed-programs.js';

export { GALERA_NODES, type GaleraNode } from './galera-nodes.js';

export interface GaleraOptions {
  readonly password: string;
  readonly say: Say;
}

const START_BOUND_MS = 100_000;
/** The label of the process in its folder. */
const LABEL = 'database';
/** A joining node must not change accounts before it has the data of the group. */
const WITHOUT_ACCOUNTS = '--init-file=';

/**
 * Every node takes reads and writes. A commit is answered once all nodes have its write set. A node that does not see a
 * majority takes neither.
 */
export class GaleraCluster {
  private constructor(private readonly members: Readonly<Record<GaleraNode, Member>>) {}

  /**
   * Starts an empty cluster with its data in a folder. Data of an earlier one is removed, and its processes are ended.
   * @throws OperatorError if a program is missing and cannot be installed, or a node does not join
   */
  static async start(dir: string, { password, say }: GaleraOptions): Promise<GaleraCluster> {
    const program = await neededMariaDb('a Galera cluster', say);
    const provider = await neededGalera('a Galera cluster', say);
    const since = Date.now();
    for (const node of GALERA_NODES) await endStrays(join(dir, node));
    rmSync(dir, { recursive: true, force: true });
    makePrivateDir(dir);
    const transferDir = makePrivateDir(join(dir, 'transfer'));
    writeStateTransfer(transferDir);
    const members = await prepareMembers(dir, { provider, password, program, transferDir });
    const cluster = new GaleraCluster(members);
    await createMissingData([members.g1.dir], program);
    // The data has its position in the history of the cluster. With a copy, a node joins as one that has missed a little.
    await cluster.launch('g1', '--wsrep-new-cluster');
    await endProcess(cluster.pid('g1'));
    const [first, ...others] = GALERA_NODES;
    for (const node of others)
      cpSync(join(members[first].dir, 'data'), join(members[node].dir, 'data'), { recursive: true });
    await cluster.launch(first, '--wsrep-new-cluster', WITHOUT_ACCOUNTS);
    for (const node of others) await cluster.start(node);
    say(`a Galera cluster of ${GALERA_NODES.length} nodes is up in ${secondsSince(since)} s`);
    return cluster;
  }

  /** Of root, without a database. */
  url(node: GaleraNode): string {
    return this.members[node].url;
  }

  /** Runs a statement as root at one node. */
  async sql(node: GaleraNode, statement: string): Promise<Array<Record<string, unknown>>> {
    const connection = await createConnection({ uri: this.url(node), connectTimeout: 5_000 });
    try {
      const [rows] = await connection.query({ sql: statement, timeout: 10_000 });
      return rows as Array<Record<string, unknown>>;
    } finally {
      connection.destroy();
    }
  }

  /** SIGKILL. The data stays. */
  async kill(node: GaleraNode): Promise<void> {
    await killProcess(this.pid(node));
    await endStrays(this.members[node].dir);
  }

  /** Starts a node that was killed. Resolves once it has what it has missed, and takes writes. */
  async start(node: GaleraNode): Promise<void> {
    await this.launch(node, WITHOUT_ACCOUNTS, `--wsrep-start-position=${await this.position(node)}`);
  }

  /** Makes the nodes that this one sees the primary component, for the case that the others are lost. */
  async makePrimary(node: GaleraNode): Promise<void> {
    await this.sql(node, `SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'`);
    await this.untilStatus(node, 'wsrep_ready', 'ON');
  }

  /** Cuts a node off from the others, or lets it in again. Its clients still reach it. */
  async isolate(node: GaleraNode, isIsolated: boolean): Promise<void> {
    await this.sql(node, `SET GLOBAL wsrep_provider_options = 'gmcast.isolate=${isIsolated ? 1 : 0}'`);
  }

  /** Waits until a status variable of a node has a value. */
  async untilStatus(node: GaleraNode, name: string, value: string, launched?: Launched): Promise<void> {
    let seen: unknown;
    const hasValue = async () => {
      if (launched?.exited) throw endedAtStart(launched);
      const rows = await this.sql(node, `SHOW STATUS LIKE '${name}'`).catch(() => []);
      seen = rows[0]?.Value;
      return seen === value;
    };
    if (await until(hasValue, { boundMs: START_BOUND_MS })) return;
    throw new OperatorError(`${name} of ${node} is ${seen}, not ${value}; see ${this.members[node].server.log}`);
  }

  /** Ends every process of the cluster by SIGKILL, as its data is not needed any more. */
  async end(): Promise<void> {
    await Promise.all(GALERA_NODES.map((node) => this.kill(node)));
  }

  private async launch(node: GaleraNode, ...more: string[]): Promise<void> {
    const { dir, server } = this.members[node];
    const launched = launch(dir, LABEL, { ...server, args: [...(server.args ?? []), ...more] });
    await this.untilStatus(node, 'wsrep_ready', 'ON', launched);
  }

  /** The last write set in the data of a node that does not run. A killed node has it only in its tables. */
  private async position(node: GaleraNode): Promise<string> {
    const { server } = this.members[node];
    const args = [...(server.args ?? []), WITHOUT_ACCOUNTS, '--wsrep-recover'];
    const { stdout, stderr } = await promisify(execFile)(server.command, args, { timeout: START_BOUND_MS });
    const found = /Recovered position: (\S+)/.exec(`${stdout}${stderr}`);
    if (!found) throw new OperatorError(`no position in the data of ${node}:\n${stderr}`);
    return found[1]!;
  }

  private pid(node: GaleraNode): number | null {
    return pidOf(this.members[node].dir, LABEL);
  }
}

const endedAtStart = ({ log, exited }: Launched) =>
  new OperatorError(`a node of the cluster ended at its start (${exited}); the end of ${log}:\n${tailOf(log)}`);
