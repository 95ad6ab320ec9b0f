// Quiescence, by observation: the invariants are promised for a system that has come to rest, so the audit first waits
// until nothing is under way. A system that does not come to rest within the bound has failed.
import { setTimeout as sleep } from 'node:timers/promises';
import { parkedRows, unfinishedWork } from './durable.mjs';
import { oldTransactions, preparedBranches } from './open-transactions.mjs';
import { leftInQueues, mayLag, readQueues } from './queues.mjs';

const POLL_MS = 250;
const LISTED_MAX = 20;

/**
 * Waits until nothing moves and stays so: for two looks, or for as long as the broker's own count of unacked
 * messages may lag behind.
 * @returns {Promise<{ unsettled: string[], waitedMs: number, queues: object[] | null, parked: object[] }>}
 *   `unsettled` is empty when the world is quiet, else says what never came to rest
 */
export async function untilQuiet(world, databases, { settleMs, brokerLagMs }) {
  const since = Date.now();
  let quietSince = null;
  for (;;) {
    const look = await lookOnce(world, databases);
    if (look.unsettled.length > 0) quietSince = null;
    else quietSince ??= Date.now();
    const needed = mayLag(look.queues ?? []) ? brokerLagMs : POLL_MS;
    const waitedMs = Date.now() - since;
    if (quietSince !== null && Date.now() - quietSince >= needed) return { ...look, waitedMs };
    if (look.unsettled.length > 0 && waitedMs > settleMs) return { ...look, waitedMs };
    await sleep(POLL_MS);
  }
}

async function lookOnce(world, databases) {
  const parked = await parkedRows(databases);
  const unsettled = [
    ...(await pendingOrders(databases, parked)),
    ...(await unfinishedWork(databases)),
    ...(await oldTransactions(databases)),
    ...(await preparedBranches(databases)),
  ];
  const queues = await readQueues(world).catch((error) => {
    unsettled.push(`the queues cannot be read: ${error.message || error.code}`);
    return null;
  });
  return { unsettled: [...unsettled, ...leftInQueues(queues ?? [])], queues, parked };
}

/** A purchase that gave up somewhere waits for a person, and may be PENDING for as long as it takes. */
async function pendingOrders(databases, parked) {
  if (!databases.has('order', 'orders')) return [];
  const waiting = new Set(parked.map(({ gid }) => gid));
  const rows = await databases.query(
    'order',
    `SELECT order_id FROM orders WHERE status = 'PENDING' LIMIT ${LISTED_MAX + waiting.size}`,
  );
  return rows.filter(({ order_id }) => !waiting.has(order_id)).map(({ order_id }) => `order ${order_id} is PENDING`);
}
