// The judge of a run. It trusts no app: it reads databases and broker, and compares them with the answers that clients got.
import type { AuditReport } from '../../audit/check-types.js';
import { audit } from '../../audit/index.js';
import { openDatabases } from '../../sandbox/database-reader.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import type { Clients } from './clients.js';

export interface Judgement {
  readonly report: AuditReport;
  /** Answers that do not agree with the databases. */
  readonly broken: readonly string[];
  /** Purchases by their final status. */
  readonly counts: Readonly<Record<string, number>>;
}

export async function judge(
  sandbox: Sandbox,
  clients: Clients,
  { settleMs }: { settleMs: number },
): Promise<Judgement> {
  const report = await audit(sandbox, { settleMs });
  const databases = await openDatabases(sandbox);
  try {
    const sql = 'SELECT order_id AS id, status FROM orders';
    const rows = await databases.query<{ id: string; status: string }>('order', sql);
    const statuses = new Map(rows.map(({ id, status }) => [id, status]));
    const counts: Record<string, number> = {};
    const broken = [...clients.wrong];
    for (const [key, { route, orderId, status }] of clients.told) {
      if (route === 'POST /restocks') continue;
      // A purchase that was refused at once may have left no row.
      const really = statuses.get(orderId) ?? (status === 'CANCELLED' ? 'CANCELLED' : 'missing');
      counts[really] = (counts[really] ?? 0) + 1;
      const isKept = status === 'PENDING' ? really === 'CONFIRMED' || really === 'CANCELLED' : really === status;
      if (!isKept) broken.push(`${route} with ${key} got ${status} for ${orderId}, which is ${really}`);
    }
    return { report, broken, counts };
  } finally {
    await databases.close();
  }
}
