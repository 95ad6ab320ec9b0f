// The nodes of a Galera cluster: their names, addresses and settings.
import { join } from 'node:path';
import { makePrivateDir } from '../infra-files.js';
import type { Program } from '../process/detached-processes.js';
import { prepareDatabase } from './database-server-setup.js';
import { METHOD } from './galera-state-transfer.js';
import type { DatabaseProgram } from './installed-programs.js';
import { choosePorts } from './ports.js';

export const GALERA_NODES = ['g1', 'g2', 'g3'] as const;
export type GaleraNode = (typeof GALERA_NODES)[number];

export interface Member {
  readonly dir: string;
  /** Of root, without a database. */
  readonly url: string;
  readonly server: Program;
}

interface MemberPlan {
  readonly program: DatabaseProgram;
  /** The path of `libgalera_smm.so`. */
  readonly provider: string;
  readonly password: string;
  /** The folder of the script of galera-state-transfer.ts. */
  readonly transferDir: string;
}

/** For clients, for the group, for write sets that a joining node lacks, and the name of its transfer. */
type MemberPorts = readonly [clients: number, group: number, missed: number, transfer: number];

/** Every port has a setting of its own, because the defaults are fixed ones of the whole machine. */
export async function prepareMembers(dir: string, plan: MemberPlan): Promise<Record<GaleraNode, Member>> {
  const ports = await choosePorts(4 * GALERA_NODES.length);
  const portsOf = (at: number) => ports.slice(4 * at, 4 * at + 4) as unknown as MemberPorts;
  const group = GALERA_NODES.map((_, at) => `127.0.0.1:${portsOf(at)[1]}`).join(',');
  const members = {} as Record<GaleraNode, Member>;
  for (const [at, node] of GALERA_NODES.entries()) {
    const own = makePrivateDir(join(dir, node));
    const state = { secrets: { database: plan.password }, ports: { order: portsOf(at)[0] } };
    const server = prepareDatabase({ dir: own, server: 'order', state, program: plan.program });
    const url = `mysql://root:${plan.password}@127.0.0.1:${portsOf(at)[0]}/`;
    const args = [
      ...(server.args ?? []),
      ...settings(node, portsOf(at), plan),
      `--wsrep-cluster-address=gcomm://${group}`,
    ];
    const env = { PATH: `${plan.transferDir}:${process.env.PATH}` };
    members[node] = { dir: own, url, server: { ...server, args, env } };
  }
  return members;
}

function settings(node: GaleraNode, [, group, missed, transfer]: MemberPorts, { provider }: MemberPlan): string[] {
  const options = [
    `gmcast.listen_addr=tcp://127.0.0.1:${group}`,
    `ist.recv_addr=127.0.0.1:${missed}`,
    // The write sets kept for a node that comes back. The default of 128 MB is more than a test writes.
    'gcache.size=32M',
  ];
  return [
    '--wsrep-on=ON',
    '--binlog-format=ROW',
    '--innodb-autoinc-lock-mode=2',
    `--wsrep-provider=${provider}`,
    `--wsrep-provider-options=${options.join(';')}`,
    `--wsrep-node-name=${node}`,
    `--wsrep-node-address=127.0.0.1:${group}`,
    `--wsrep-sst-method=${METHOD}`,
    `--wsrep-sst-receive-address=127.0.0.1:${transfer}`,
  ];
}
