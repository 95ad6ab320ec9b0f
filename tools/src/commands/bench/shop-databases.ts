// What the databases of a shop know: which orders are final, whether work is left, and what their servers counted.
import { durableTables } from '../../audit/durable-rows.js';
import { type Databases, openDatabases } from '../../sandbox/database-reader.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import type { App } from '../../servers/server-set.js';

export interface Counts {
  /** SQL statements (`Questions`), those that begin and end transactions included. */
  readonly statements: number;
  /** Transactions that have changed something (`trx_rw_commits` of InnoDB), those of single statements included. */
  readonly commits: number;
  /** Of logs and data files. Transactions that commit together share one. */
  readonly fsyncs: number;
}

const STATUS = `SHOW GLOBAL STATUS WHERE Variable_name IN ('Questions', 'Innodb_data_fsyncs')`;
const COMMITS = `SELECT COUNT AS n FROM information_schema.INNODB_METRICS WHERE NAME = 'trx_rw_commits'`;
/** The table of `@fullstackhouse/nestjs-outbox`, which deletes finished rows. */
const PEER_OUTBOX = 'outbox_transport_event';
/** The server counts commits only after this statement. */
const COUNT_COMMITS = `SET GLOBAL innodb_monitor_enable = 'trx_rw_commits'`;

export class ShopDatabases {
  /** Statements of this object at each server, which counts them, too. */
  private readonly own = new Map<App, number>();

  private constructor(private readonly databases: Databases) {}

  static async open(sandbox: Pick<Sandbox, 'databases'>): Promise<ShopDatabases> {
    const databases = await openDatabases(sandbox);
    // A server that was given may refuse it. Its commits are then shown as 0.
    for (const app of databases.apps) await databases.query(app, COUNT_COMMITS).catch(() => {});
    return new ShopDatabases(databases);
  }

  /** When these orders were confirmed, by the clock of their database. Others are left out. */
  async confirmed(orderIds: readonly string[]): Promise<Map<string, number>> {
    const rows = await this.query<{ order_id: string; updated_at: Date }>(
      'order',
      `SELECT order_id, updated_at FROM orders WHERE order_id IN (?) AND status = 'CONFIRMED'`,
      [orderIds],
    );
    return new Map(rows.map(({ order_id, updated_at }) => [order_id, updated_at.getTime()]));
  }

  /** Whether no durable row is left to be worked on. Receipts, marks and notifications follow a settled order. */
  async isAtRest(): Promise<boolean> {
    const tables = durableTables(this.databases);
    for (const app of this.databases.apps) {
      const open = tables
        .filter((one) => one.app === app)
        .map(({ table }) => `EXISTS (SELECT 1 FROM ${table} WHERE next_attempt_at < '9000-01-01')`);
      if (this.databases.has(app, PEER_OUTBOX)) open.push(`EXISTS (SELECT 1 FROM ${PEER_OUTBOX})`);
      if (open.length === 0) continue;
      const [row] = await this.query<{ busy: number | bigint }>(app, `SELECT ${open.join(' OR ')} AS busy`);
      if (Number(row?.busy) !== 0) return false;
    }
    return true;
  }

  /** The counters of all servers since their start, without the looks of this object. */
  async counts(): Promise<Counts> {
    const total = { statements: 0, commits: 0, fsyncs: 0 };
    for (const app of this.databases.apps) {
      const rows = await this.query<{ Variable_name: string; Value: string }>(app, STATUS);
      const own = this.own.get(app)!;
      const at = (wanted: string) => Number(rows.find(({ Variable_name: name }) => name === wanted)?.Value ?? 0);
      const [commits] = await this.query<{ n: number | bigint }>(app, COMMITS);
      total.statements += at('Questions') - own;
      total.commits += Number(commits?.n ?? 0);
      total.fsyncs += at('Innodb_data_fsyncs');
    }
    return total;
  }

  close(): Promise<void> {
    return this.databases.close();
  }

  query<Row>(app: App, sql: string, values: readonly unknown[] = []): Promise<Row[]> {
    this.own.set(app, (this.own.get(app) ?? 0) + 1);
    return this.databases.query<Row>(app, sql, values);
  }
}
