// One case in one round: what the callers saw, what the servers counted, what the processes used.
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { OperatorError } from '../../cli/operator-error.js';
import { until } from '../../cli/waits-and-progress.js';
import { type Case, nameOf, routeOf } from './cases.js';
import { type Asked, makePurchases } from './load.js';
import { usageOf } from './process-usage.js';
import type { ServerCounters } from './server-counters.js';
import type { Shop, Stage } from './stage.js';

const SETTLE_BOUND_MS = 120_000;

export interface Sample {
  readonly of: Case;
  /** Purchases per second from the first call to the last order that became final. */
  readonly settledPerSecond: number;
  readonly answerMs: readonly number[];
  readonly settledMs: readonly number[];
  readonly statements: number;
  readonly commits: number;
  readonly fsyncs: number;
  /** CPU time in milliseconds of the three apps, the three databases and the broker. Null where it cannot be read. */
  readonly cpuMs: { readonly apps: number | null; readonly databases: number | null; readonly broker: number | null };
  readonly rssBytes: number | null;
}

export interface Measuring {
  readonly stage: Pick<Stage, 'serverPids'>;
  readonly shop: Shop;
  readonly counters: ServerCounters;
}

export async function measure(of: Case, { stage, shop, counters }: Measuring): Promise<Sample> {
  const pids = { apps: shop.pids, databases: stage.serverPids('databases'), broker: stage.serverPids('broker') };
  const usages = () => ({ apps: usageOf(pids.apps), databases: usageOf(pids.databases), broker: usageOf(pids.broker) });
  const before = usages();
  const counted = await counters.databases();
  const asked = await purchasesOf(of, shop);
  const settledAt = await untilSettled(of, asked, shop);
  const now = await counters.databases();
  const after = usages();
  const spent = (kind: keyof typeof pids) => {
    const [then, since] = [before[kind], after[kind]];
    return pids[kind].length > 0 && then && since ? since.cpuMs - then.cpuMs : null;
  };
  const settledMs = asked.map(({ orderId, askedAt, answerMs }) => settleTime(settledAt.get(orderId)! - askedAt, answerMs));
  const startedAt = Math.min(...asked.map(({ askedAt }) => askedAt));
  const endedAt = Math.max(...asked.map(({ askedAt }, n) => askedAt + settledMs[n]!));
  return {
    of,
    settledPerSecond: asked.length / ((endedAt - startedAt) / 1_000),
    answerMs: asked.map(({ answerMs }) => answerMs),
    settledMs,
    statements: now.statements - counted.statements,
    commits: now.commits - counted.commits,
    fsyncs: now.fsyncs - counted.fsyncs,
    cpuMs: { apps: spent('apps'), databases: spent('databases'), broker: spent('broker') },
    rssBytes: after.apps?.rssBytes ?? null,
  };
}

export function purchasesOf(of: Case, { urls }: Shop): Promise<Asked[]> {
  const { app, path } = routeOf(of.variant);
  return makePurchases(of, `${urls[app]}${path}`, of.notify ? `${urls.order}/payment-results` : null);
}

/** An answer that says CONFIRMED may arrive after the commit that confirms. The caller knows it with the answer. */
const settleTime = (sinceAskedMs: number, answerMs: number) => Math.max(sinceAskedMs, answerMs);

/** When each order became final, by the clock of its database. @throws OperatorError for an order that does not */
export async function untilSettled(of: Case, asked: readonly Asked[], { sandbox }: Shop): Promise<Map<string, number>> {
  const connection = await createConnection({ uri: sandbox.databases.order, timezone: 'Z' });
  try {
    const settled = new Map<string, number>();
    const isSettled = async () => {
      const open = asked.filter(({ orderId }) => !settled.has(orderId)).map(({ orderId }) => orderId);
      const sql = `SELECT order_id, updated_at FROM orders WHERE order_id IN (?) AND status = 'CONFIRMED'`;
      const [rows] = await connection.query<RowDataPacket[]>(sql, [open]);
      for (const row of rows) settled.set(row.order_id, (row.updated_at as Date).getTime());
      return settled.size === asked.length;
    };
    if (!(await until(isSettled, { boundMs: SETTLE_BOUND_MS, everyMs: 100 })))
      throw new OperatorError(`${nameOf(of)}: ${asked.length - settled.size} purchases were not confirmed in time`);
    return settled;
  } finally {
    await connection.end();
  }
}
