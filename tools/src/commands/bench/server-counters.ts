// What the servers counted: statements, commits and log syncs of the databases, messages of the broker.
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sandbox } from '../../sandbox/sandbox.js';
import { management } from '../../servers/broker-api.js';
import { DATABASES } from '../../servers/server-set.js';

export interface Counts {
  /** SQL statements (`Questions`), those of the protocol included. */
  readonly statements: number;
  /** Explicit commits, and statements that commit by themselves, as the storage engine counts them. */
  readonly commits: number;
  readonly fsyncs: number;
  /** Messages that were published. */
  readonly messages: number;
}

/** The management database of the broker takes up to this long to show a message (`collect_statistics_interval`, 5 s). */
const STATISTICS_BOUND_MS = 12_000;
const STATISTICS_STILL_MS = 5_500;

export class ServerCounters {
  private constructor(
    private readonly connections: readonly Connection[],
    private readonly sandboxes: readonly Sandbox[],
  ) {}

  static async open(sandboxes: readonly Sandbox[]): Promise<ServerCounters> {
    const [first] = sandboxes;
    return new ServerCounters(await Promise.all(DATABASES.map((app) => createConnection(first!.databases[app]))), sandboxes);
  }

  /** Counts of the database servers, without those of this look. */
  async databases(): Promise<Omit<Counts, 'messages'>> {
    const all = await Promise.all(this.connections.map(look));
    const total = (name: keyof Omit<Counts, 'messages'>) => all.reduce((sum, one) => sum + one[name], 0);
    return { statements: total('statements'), commits: total('commits'), fsyncs: total('fsyncs') };
  }

  /** Messages published to the virtual hosts so far. Waits until the figures stand still. */
  async messages(): Promise<number> {
    let last = await this.published();
    let stillSince = performance.now();
    const end = performance.now() + STATISTICS_BOUND_MS;
    while (performance.now() - stillSince < STATISTICS_STILL_MS && performance.now() < end) {
      await sleep(500);
      const now = await this.published();
      if (now !== last) stillSince = performance.now();
      last = now;
    }
    return last;
  }

  private async published(): Promise<number> {
    const counts = await Promise.all(
      this.sandboxes.map(async ({ management: url, vhost }) => {
        type Vhost = { message_stats?: { publish?: number } };
        const found = await management<Vhost>(url, 'GET', `/vhosts/${encodeURIComponent(vhost)}`);
        return found?.message_stats?.publish ?? 0;
      }),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async close(): Promise<void> {
    await Promise.all(this.connections.map((connection) => connection.end()));
  }
}

/** `SHOW GLOBAL STATUS` is a statement itself, so it is taken off by counting how often it was asked. */
async function look(connection: Connection): Promise<Omit<Counts, 'messages'>> {
  const [rows] = await connection.query<RowDataPacket[]>(
    `SHOW GLOBAL STATUS WHERE Variable_name IN ('Questions', 'Handler_commit', 'Innodb_os_log_fsyncs', 'Com_show_status')`,
  );
  const at = (name: string) => Number(rows.find((row) => row.Variable_name === name)?.Value ?? 0);
  return {
    statements: at('Questions') - at('Com_show_status'),
    commits: at('Handler_commit'),
    fsyncs: at('Innodb_os_log_fsyncs'),
  };
}
