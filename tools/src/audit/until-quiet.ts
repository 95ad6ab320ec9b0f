// The invariants hold for a system at rest, so the audit first waits until nothing is under way. A system that does not come
// to rest within the limit has failed.
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../cli/error-text.js';
import type { Databases } from '../sandbox/database-reader.js';
import type { Sandbox } from '../sandbox/sandbox.js';
import type { Quiet } from './check-types.js';
import { type ParkedRow, parkedRows, unfinishedWork } from './durable-rows.js';
import { oldTransactions, preparedBranches } from './open-transactions.js';
import { leftInQueues, mayLag, readQueues } from './queue-states.js';

const POLL_MS = 250;
const LISTED_MAX = 20;

type Look = Omit<Quiet, 'waitedMs'>;
type Broker = Pick<Sandbox, 'vhost' | 'management' | 'rabbitmq'>;

export interface QuietOptions {
  readonly settleMs: number;
  readonly brokerLagMs: number;
  /** Gets the unsettled parts of each look. */
  readonly onLook?: ((unsettled: readonly string[]) => void) | undefined;
}

/**
 * Waits until nothing moves and stays so: for two looks, or for as long as the broker's count of unacked messages may lag
 * behind.
 */
export async function untilQuiet(
  sandbox: Broker,
  databases: Databases,
  { settleMs, brokerLagMs, onLook = () => {} }: QuietOptions,
): Promise<Quiet> {
  const since = Date.now();
  let quietSince: number | null = null;
  for (;;) {
    const look = await lookOnce(sandbox, databases);
    onLook(look.unsettled);
    if (look.unsettled.length > 0) quietSince = null;
    else quietSince ??= Date.now();
    const needed = mayLag(look.queues ?? []) ? brokerLagMs : POLL_MS;
    const waitedMs = Date.now() - since;
    if (quietSince !== null && Date.now() - quietSince >= needed) return { ...look, waitedMs };
    if (look.unsettled.length > 0 && waitedMs > settleMs) return { ...look, waitedMs };
    await sleep(POLL_MS);
  }
}

async function lookOnce(sandbox: Broker, databases: Databases): Promise<Look> {
  const parked = await parkedRows(databases);
  const unsettled = [
    ...(await pendingOrders(databases, parked)),
    ...(await unfinishedWork(databases)),
    ...(await oldTransactions(databases)),
    ...(await preparedBranches(databases)),
  ];
  const queues = await readQueues(sandbox).catch((error: unknown) => {
    unsettled.push(`the queues cannot be read: ${messageOf(error)}`);
    return null;
  });
  return { unsettled: [...unsettled, ...leftInQueues(queues ?? [])], queues, parked };
}

/** A parked purchase waits for an operator and may stay PENDING. */
async function pendingOrders(databases: Databases, parked: readonly ParkedRow[]): Promise<string[]> {
  if (!databases.has('order', 'orders')) return [];
  const waiting = new Set(parked.map(({ gid }) => gid));
  const rows = await databases.query<{ order_id: string }>(
    'order',
    `SELECT order_id FROM orders WHERE status = 'PENDING' LIMIT ${LISTED_MAX + waiting.size}`,
  );
  return rows.filter(({ order_id }) => !waiting.has(order_id)).map(({ order_id }) => `order ${order_id} is PENDING`);
}
