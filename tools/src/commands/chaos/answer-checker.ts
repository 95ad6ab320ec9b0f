// The judge of a run. It trusts no app: it reads databases and broker, and compares them with the answers that clients got.
import type { AuditReport } from '../../audit/check-types.js';
import { type AuditOptions, audit } from '../../audit/index.js';
import { type Databases, openDatabases } from '../../sandbox/database-reader.js';
import type { Sandbox } from '../../sandbox/sandbox.js';
import { readTimeline, timelineLines } from '../trace/timeline.js';
import { brokenInvariants } from './broken-invariants.js';
import { countOf, type Finding, findingsOf, type Seen } from './history.js';

/** Ids whose timeline is looked for. */
const LOOKED_UP_MAX = 20;

export interface Judgement {
  readonly report: AuditReport;
  /** Broken invariants of the history. */
  readonly findings: readonly Finding[];
  /** Those, and what the audit has found. Empty if everything holds. */
  readonly broken: readonly Finding[];
  /** Purchases by their final status. */
  readonly counts: Readonly<Record<string, number>>;
  /** The timeline of the first purchase that shows a violation. */
  readonly trace: readonly string[];
}

export async function judge(
  sandbox: Sandbox,
  seen: Seen,
  { opened, ...options }: AuditOptions & { opened: bigint },
): Promise<Judgement> {
  const report = await audit(sandbox, options);
  const databases = await openDatabases(sandbox);
  try {
    const rows = await databases.query<{ id: string; status: string }>(
      'order',
      'SELECT order_id AS id, status FROM orders',
    );
    const [stock] = await databases.query<{ total: bigint }>(
      'inventory',
      'SELECT CAST(SUM(opening) AS SIGNED) AS total FROM stock',
    );
    const found = { orders: new Map(rows.map(({ id, status }) => [id, status])), opening: BigInt(stock!.total) };
    const findings = findingsOf(seen, found, opened);
    const broken = brokenInvariants(findings, report);
    return { report, findings, broken, counts: countOf(seen, found), trace: await traceOf(databases, broken) };
  } finally {
    await databases.close();
  }
}

/** The timeline of the first purchase in the findings. An id that no purchase has, such as that of a row, shows nothing. */
async function traceOf(databases: Databases, broken: readonly Finding[]): Promise<string[]> {
  const named = new Set(broken.flatMap(({ orderId }) => orderId ?? []));
  for (const id of [...named].slice(0, LOOKED_UP_MAX)) {
    const { events, now } = await readTimeline(databases, id);
    if (events.length > 0) return [`purchase ${id}:`, ...timelineLines(events), ...now.map(asLine)];
  }
  return [];
}

const asLine = ({ app, text }: { app: string; text: string }) => `${app.padEnd(9)}  ${text}`;
