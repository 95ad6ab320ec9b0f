// Collects what a run has met, so that one that met nothing does not count.
import type { Sandbox } from '../../sandbox/sandbox.js';
import { management } from '../../servers/broker-api.js';
import type { App } from '../../servers/server-set.js';
import type { Judgement } from './answer-checker.js';
import type { DatabaseServer } from './breakable-database-servers.js';
import { isCanaryFound } from './canary.js';
import type { Evidence } from './history.js';
import { purchasesIn } from './report.js';

interface Stage {
  readonly sandbox: Sandbox;
  readonly databases: Record<App, DatabaseServer>;
}

export async function evidenceOf(
  { sandbox, databases }: Stage,
  { counts }: Judgement,
  known: Pick<Evidence, 'begun' | 'failed' | 'byOperator'>,
): Promise<Evidence> {
  const sentAgain = Object.values(databases).reduce((sum, one) => sum + one.sentAgain, 0);
  return {
    purchases: purchasesIn(counts),
    ...known,
    duplicates: sentAgain + (await redelivered(sandbox)),
    isCanaryFound: await isCanaryFound(sandbox, databases.inventory),
  };
}

/** The count of the broker begins anew when it is killed, so it may be too low. */
async function redelivered({ management: url, vhost }: Sandbox): Promise<number> {
  type Queue = { message_stats?: { redeliver?: number } };
  const queues = (await management<Queue[]>(url, 'GET', `/queues/${encodeURIComponent(vhost)}`)) ?? [];
  return queues.reduce((sum, { message_stats: stats }) => sum + (stats?.redeliver ?? 0), 0);
}
