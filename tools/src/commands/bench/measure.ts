// One case in one round: what the callers saw, what the servers counted, what the processes used.
import { OperatorError } from '../../cli/operator-error.js';
import { until } from '../../cli/waits-and-progress.js';
import { type Case, nameOf, routeOf } from './cases.js';
import { type Asked, makePurchases } from './load.js';
import { usageOf } from './process-usage.js';
import type { Counts } from './shop-databases.js';
import type { Shop, Stage } from './stage.js';

const SETTLE_BOUND_MS = 120_000;
const REST_BOUND_MS = 120_000;

/** CPU time in milliseconds of the three apps, the three databases and the broker (with Restate's server). Null where it cannot be read. */
export interface CpuMs {
  readonly apps: number | null;
  readonly databases: number | null;
  readonly broker: number | null;
}

export interface Sample extends Counts {
  readonly of: Case;
  /** Purchases per second from the first call to the last order that became final. */
  readonly settledPerSecond: number;
  readonly answerMs: readonly number[];
  readonly settledMs: readonly number[];
  /** Until nothing was left to do: receipts and notifications follow the orders. */
  readonly cpuMs: CpuMs;
  /** Of the three apps, at the end. */
  readonly rssBytes: number | null;
}

export async function measure(of: Case, shop: Shop, stage: Pick<Stage, 'serverPids'>): Promise<Sample> {
  const broker = stage.serverPids('broker');
  const pids = {
    apps: shop.processes.pids,
    databases: stage.serverPids('databases'),
    broker: broker.length === 0 ? [] : [...broker, ...shop.processes.serverPids],
  };
  const usages = () => ({ apps: usageOf(pids.apps), databases: usageOf(pids.databases), broker: usageOf(pids.broker) });
  const before = usages();
  const counted = await shop.databases.counts();
  const asked = await purchasesOf(of, shop);
  const settledAt = await untilSettled(of, asked, shop);
  await untilAtRest(of, shop);
  const now = await shop.databases.counts();
  const after = usages();
  const spent = (kind: keyof typeof pids) => {
    const [then, since] = [before[kind], after[kind]];
    return pids[kind].length > 0 && then && since ? since.cpuMs - then.cpuMs : null;
  };
  return {
    of,
    ...timesOf(asked, settledAt),
    statements: now.statements - counted.statements,
    commits: now.commits - counted.commits,
    fsyncs: now.fsyncs - counted.fsyncs,
    cpuMs: { apps: spent('apps'), databases: spent('databases'), broker: spent('broker') },
    rssBytes: after.apps?.rssBytes ?? null,
  };
}

function timesOf(asked: readonly Asked[], settledAt: ReadonlyMap<string, number>) {
  // An answer that says CONFIRMED may arrive after the commit that confirms. The caller knows it with the answer.
  const settledMs = asked.map(({ orderId, askedAt, answerMs }) =>
    Math.max(settledAt.get(orderId)! - askedAt, answerMs),
  );
  const startedAt = Math.min(...asked.map(({ askedAt }) => askedAt));
  const endedAt = Math.max(...asked.map(({ askedAt }, n) => askedAt + settledMs[n]!));
  return {
    settledPerSecond: asked.length / ((endedAt - startedAt) / 1_000),
    answerMs: asked.map(({ answerMs }) => answerMs),
    settledMs,
  };
}

export function purchasesOf(of: Case, { urls, processes }: Pick<Shop, 'urls' | 'processes'>): Promise<Asked[]> {
  const { app, path } = routeOf(of.variant);
  return makePurchases(
    of,
    `${processes.entry ?? urls[app]}${path}`,
    of.notify ? `${urls.order}/payment-results` : null,
  );
}

/** When each order became final, by the clock of its database. @throws OperatorError for an order that does not */
export async function untilSettled(
  of: Case,
  asked: readonly Asked[],
  { databases }: Shop,
): Promise<ReadonlyMap<string, number>> {
  const settled = new Map<string, number>();
  const isSettled = async () => {
    const open = asked.map(({ orderId }) => orderId).filter((orderId) => !settled.has(orderId));
    for (const [orderId, at] of await databases.confirmed(open)) settled.set(orderId, at);
    return settled.size === asked.length;
  };
  if (!(await until(isSettled, { boundMs: SETTLE_BOUND_MS })))
    throw new OperatorError(`${nameOf(of)}: ${asked.length - settled.size} purchases were not confirmed in time`);
  return settled;
}

/** @throws OperatorError if work is left at the limit */
export async function untilAtRest(of: Case, { databases }: Shop): Promise<void> {
  if (!(await until(() => databases.isAtRest(), { boundMs: REST_BOUND_MS })))
    throw new OperatorError(`${nameOf(of)}: durable rows were not finished within ${REST_BOUND_MS / 1_000} s`);
}
