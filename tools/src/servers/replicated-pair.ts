// A MariaDB primary with one replica on loopback, for tests and measurements of what outlives the loss of a database server.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import { OperatorError } from '../cli/operator-error.js';
import type { Say } from '../cli/say-type.js';
import { until } from '../cli/waits-and-progress.js';
import { makePrivateDir } from '../infra-files.js';
import { endProcess, endStrays, killProcess, launch, pidOf } from '../process/detached-processes.js';
import { askDatabase } from './database-probe.js';
import { createMissingData, prepareDatabase } from './database-server-setup.js';
import { neededMariaDb } from './needed-programs.js';
import { keepOrChoosePort } from './ports.js';
import type { ServerState } from './server-set.js';

export const PAIR = ['first', 'second'] as const;
export type PairNode = (typeof PAIR)[number];

export interface PairOptions {
  readonly password: string;
  /** Whether a COMMIT is answered only when the replica has it. Otherwise the replication is asynchronous. */
  readonly isSemiSync: boolean;
  readonly say: Say;
}

const START_BOUND_MS = 100_000;
const CATCH_UP_BOUND_MS = 30_000;
/** The label of the process in its folder. */
const LABEL = 'database';

const settingsOf = (node: PairNode) => [
  `--server-id=${PAIR.indexOf(node) + 1}`,
  '--log-bin=binlog',
  '--binlog-format=ROW',
  '--log-slave-updates=ON',
  '--gtid-strict-mode=ON',
  '--relay-log=relay',
  // The default answers a COMMIT to other sessions before the replica has it (AFTER_COMMIT), and goes asynchronous by
  // itself when the replica has been silent for 10 s.
  '--rpl-semi-sync-master-wait-point=AFTER_SYNC',
  '--rpl-semi-sync-master-timeout=3600000',
  '--rpl-semi-sync-slave-enabled=ON',
];

/**
 * `first` is the primary and `second` its replica, by GTID, until `promote`. Only MariaDB, which writes XA PREPARE to its
 * binary log since 10.5.
 */
export class ReplicatedPair {
  private constructor(
    private readonly dir: string,
    /** Of root, without a database. */
    readonly urls: Readonly<Record<PairNode, string>>,
    private readonly isSemiSync: boolean,
  ) {}

  /**
   * Starts an empty pair with its data in a folder. Data of an earlier pair is removed, and its processes are ended.
   * @throws OperatorError if MariaDB is missing and cannot be installed
   */
  static async start(dir: string, { password, isSemiSync, say }: PairOptions): Promise<ReplicatedPair> {
    const program = await neededMariaDb('a replicated pair', say);
    const dirs = PAIR.map((node) => join(dir, node));
    for (const one of dirs) await endStrays(one);
    rmSync(dir, { recursive: true, force: true });
    makePrivateDir(dir);
    for (const one of dirs) makePrivateDir(one);
    await createMissingData(dirs, program);
    const ports: ServerState = { ways: {}, ports: {}, secrets: {} };
    await keepOrChoosePort(ports, 'order', () => {});
    await keepOrChoosePort(ports, 'payment', () => {});
    const portOf = { first: ports.ports.order!, second: ports.ports.payment! };
    for (const [index, node] of PAIR.entries()) {
      const state = { secrets: { database: password }, ports: { order: portOf[node] } };
      const server = prepareDatabase({ dir: dirs[index]!, server: 'order', state, program });
      launch(dirs[index]!, LABEL, { ...server, args: [...(server.args ?? []), ...settingsOf(node)] });
    }
    const urlOf = (node: PairNode) => `mysql://root:${password}@127.0.0.1:${portOf[node]}/`;
    const pair = new ReplicatedPair(dir, { first: urlOf('first'), second: urlOf('second') }, isSemiSync);
    await Promise.all(PAIR.map((node) => pair.untilUp(node)));
    await pair.replicate(portOf.first, password);
    return pair;
  }

  /** Runs statements as root at one server. Resolves to the rows of the last one. */
  async sql(node: PairNode, ...statements: string[]): Promise<Array<Record<string, unknown>>> {
    const connection = await createConnection({ uri: this.urls[node], connectTimeout: 5_000 });
    try {
      let rows: unknown = [];
      for (const statement of statements) [rows] = await connection.query(statement);
      return rows as Array<Record<string, unknown>>;
    } finally {
      connection.destroy();
    }
  }

  /** The replica falls behind from now on, as over a broken network. Only an asynchronous primary goes on. */
  async holdReplication(): Promise<void> {
    await this.sql('second', 'STOP SLAVE IO_THREAD');
  }

  /** SIGKILL. The primary must never come back, since it may have a transaction that the replica has not. */
  async killPrimary(): Promise<void> {
    await killProcess(pidOf(join(this.dir, 'first'), LABEL));
  }

  /** Makes the replica a primary, after it has applied what it has received. */
  async promote(): Promise<void> {
    await this.sql('second', 'STOP SLAVE IO_THREAD');
    const isApplied = async () => {
      const [row] = await this.sql('second', 'SHOW SLAVE STATUS');
      return row?.Slave_SQL_Running_State === 'Slave has read all relay log; waiting for more updates';
    };
    if (!(await until(isApplied, { boundMs: CATCH_UP_BOUND_MS, everyMs: 20 })))
      throw new OperatorError(`the replica has not applied its relay log within ${CATCH_UP_BOUND_MS} ms`);
    await this.sql('second', 'STOP SLAVE', 'RESET SLAVE ALL', 'SET GLOBAL read_only = OFF');
  }

  async stop(): Promise<void> {
    await Promise.all(PAIR.map((node) => endProcess(pidOf(join(this.dir, node), LABEL))));
  }

  private async untilUp(node: PairNode): Promise<void> {
    const isUp = () =>
      askDatabase(this.urls[node]).then(
        () => true,
        () => false,
      );
    if (!(await until(isUp, { boundMs: START_BOUND_MS, everyMs: 100 })))
      throw new OperatorError(`a database server did not start; see ${join(this.dir, node, 'server.log')}`);
  }

  /** Both have the same data now. What each has logged about making it is forgotten, so that their GTIDs agree. */
  private async replicate(port: number, password: string): Promise<void> {
    await this.sql('first', 'RESET MASTER');
    const at = `MASTER_HOST = '127.0.0.1', MASTER_PORT = ${port}, MASTER_USER = 'root', MASTER_PASSWORD = '${password}'`;
    await this.sql(
      'second',
      'RESET MASTER',
      'SET GLOBAL read_only = ON',
      `CHANGE MASTER TO ${at}, MASTER_USE_GTID = slave_pos`,
      'START SLAVE',
    );
    // Before a replica is connected, the primary would wait for one at its first COMMIT.
    if (!this.isSemiSync) return;
    await this.sql('first', 'SET GLOBAL rpl_semi_sync_master_enabled = ON');
    const hasReplica = async () => {
      const [row] = await this.sql('first', `SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'`);
      return Number(row?.Value) === 1;
    };
    if (!(await until(hasReplica, { boundMs: CATCH_UP_BOUND_MS, everyMs: 50 })))
      throw new OperatorError('the replica has not connected to its primary for semi-synchronous replication');
  }
}
