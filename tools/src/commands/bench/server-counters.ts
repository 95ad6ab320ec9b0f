// What the database servers counted: statements, commits and log syncs.
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise';
import type { Sandbox } from '../../sandbox/sandbox.js';
import { DATABASES } from '../../servers/server-set.js';

export interface Counts {
  /** SQL statements (`Questions`), those of the protocol included. */
  readonly statements: number;
  /** Explicit commits, and statements that commit by themselves, as the storage engine counts them. */
  readonly commits: number;
  readonly fsyncs: number;
}

export class ServerCounters {
  private constructor(private readonly connections: readonly Connection[]) {}

  static async open({ databases }: Pick<Sandbox, 'databases'>): Promise<ServerCounters> {
    return new ServerCounters(await Promise.all(DATABASES.map((app) => createConnection(databases[app]))));
  }

  /** Counts of the database servers, without those of this look. */
  async databases(): Promise<Counts> {
    const all = await Promise.all(this.connections.map(look));
    const total = (name: keyof Counts) => all.reduce((sum, one) => sum + one[name], 0);
    return { statements: total('statements'), commits: total('commits'), fsyncs: total('fsyncs') };
  }

  async close(): Promise<void> {
    await Promise.all(this.connections.map((connection) => connection.end()));
  }
}

/** `SHOW GLOBAL STATUS` is a statement itself, so it is taken off by counting how often it was asked. */
async function look(connection: Connection): Promise<Counts> {
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
