// Invariants of messages, queues and servers once the system is quiet.
import type { AuditContext, Check, Figures } from './check-types.js';
import { countByState, durableTables, unfinishedWork } from './durable-rows.js';
import { OLD_AFTER_S, oldTransactions, preparedBranches } from './open-transactions.js';
import { leftInQueues } from './queue-states.js';

/** Every durable row (message sent, delivery handled, ...) is finished, or PARKED. */
export async function checkDurableWork({ databases }: AuditContext): ReturnType<Check> {
  const tables = durableTables(databases);
  if (tables.length === 0) return null;
  const figures: Record<string, number> = {};
  for (const one of tables) {
    for (const [state, number] of Object.entries(await countByState(databases, one))) {
      const key = `${one.table.replace('dtx_', '')} ${state}`;
      figures[key] = (figures[key] ?? 0) + number;
    }
  }
  return { figures, violations: await unfinishedWork(databases) };
}

/** No queue holds a message. */
export async function checkQueues({ queues }: AuditContext): ReturnType<Check> {
  if (queues === null) return { figures: {}, violations: ['the queues could not be read'] };
  const total = (field: 'ready' | 'unacked' | 'consumers') => queues.reduce((sum, queue) => sum + queue[field], 0);
  const figures = {
    queues: queues.length,
    ready: total('ready'),
    unacked: total('unacked'),
    consumers: total('consumers'),
  };
  return { figures, violations: leftInQueues(queues) };
}

/** No database transaction was left open, and no XA branch prepared. */
export async function checkNothingOpen({ databases }: AuditContext): ReturnType<Check> {
  if (databases.apps.length === 0) return null;
  const [old, prepared] = [await oldTransactions(databases), await preparedBranches(databases)];
  const figures: Figures = {
    databases: databases.apps.length,
    [`transactions over ${OLD_AFTER_S} s`]: old.length,
    preparedBranches: prepared.length,
  };
  return { figures, violations: [...old, ...prepared] };
}
