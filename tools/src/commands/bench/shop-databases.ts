// What the databases of a shop know: which orders are final, whether work is left, and what their servers counted.
import { durableTables } from '../../audit/durable-rows.js';
import { type Databases, openDatabases } from '../../sandbox/database-reader.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import type { App } from '../../servers/server-set.js';

export interface Counts {
  /** SQL statements (`Questions`), those that begin and end transactions included. */
  readonly statements: number;
  /** Transactions that the storage engine committed (`Handler_commit`), those of single statements included. */
  readonly commits: number;
  readonly fsyncs: number;
}

const COUNTERS = ['Questions', 'Handler_commit', 'Innodb_os_log_fsyncs', 'Innodb_data_fsyncs'] as const;

export class ShopDatabases {
  /** Statements of this object, which the servers count, too. */
  private own = 0;

  private constructor(private readonly databases: Databases) {}

  static async open(sandbox: Pick<Sandbox, 'databases'>): Promise<ShopDatabases> {
    return new ShopDatabases(await openDatabases(sandbox));
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
      if (open.length === 0) continue;
      const [row] = await this.query<{ busy: number | bigint }>(app, `SELECT ${open.join(' OR ')} AS busy`);
      if (Number(row?.busy) !== 0) return false;
    }
    return true;
  }

  /** The counters of all servers since their start, without the looks of this object. */
  async counts(): Promise<Counts> {
    const total = { statements: -this.own, commits: 0, fsyncs: 0 };
    for (const app of this.databases.apps) {
      const names = COUNTERS.map((name) => `'${name}'`).join(', ');
      const rows = await this.query<{ Variable_name: string; Value: string }>(
        app,
        `SHOW GLOBAL STATUS WHERE Variable_name IN (${names})`,
      );
      const at = (wanted: (typeof COUNTERS)[number]) =>
        Number(rows.find(({ Variable_name: name }) => name === wanted)?.Value ?? 0);
      total.statements += at('Questions');
      total.commits += at('Handler_commit');
      total.fsyncs += at('Innodb_os_log_fsyncs') || at('Innodb_data_fsyncs');
    }
    return total;
  }

  close(): Promise<void> {
    return this.databases.close();
  }

  private query<Row>(app: App, sql: string, values: readonly unknown[] = []): Promise<Row[]> {
    this.own++;
    return this.databases.query<Row>(app, sql, values);
  }
}
