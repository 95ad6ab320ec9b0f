// The purchases of the demo and the order that expires, and the audit after them.
import { type AuditReport, audit } from '../../audit/index.js';
import { withLock } from '../../process/command-lock.js';
import type { Urls } from '../../shop/purchase.js';
import { expireAnOrder, type RestartableApps } from '../demo/expiry-step.js';
import { makePurchases, type ShownPurchase, setTheScene } from '../demo/purchases.js';
import type { Job } from './job-runner.js';
import type { LabTarget, Processes } from './target.js';

const LOCK_BOUND_MS = 1_000;

export interface ScenarioResult {
  readonly rows: readonly ShownPurchase[];
  /** Whether every purchase ended as it must. */
  readonly asExpected: boolean;
}

export async function playScenario({ urls, processes }: LabTarget, job: Job): Promise<ScenarioResult> {
  job.say('accounts and stock are set');
  await setTheScene(urls);
  const rows: ShownPurchase[] = [];
  const expiries = processes ? 1 : 0;
  const onMade = (row: ShownPurchase, total: number) => {
    rows.push(row);
    job.progress(rows.length, total + expiries);
    job.set({ result: { rows, asExpected: rows.every((one) => one.asExpected) } });
  };
  await makePurchases(urls, { say: job.say, onMade });
  if (processes) onMade(await expire(urls, processes, job), rows.length);
  return { rows, asExpected: rows.every((one) => one.asExpected) };
}

/** The apps restart, so no break may run meanwhile. */
function expire(urls: Urls, { actions, breakLock, failpointLog }: Processes, { say }: Job): Promise<ShownPurchase> {
  const restart: RestartableApps['restart'] = (app, { env = {}, holdMs = 0 } = {}) =>
    actions.restart({ app, env, holdMs });
  return withLock(breakLock, { say, what: 'the demo', boundMs: LOCK_BOUND_MS }, () =>
    expireAnOrder({ urls, restart }, { say, failpointLog }),
  );
}

export async function playAudit({ sandbox }: LabTarget, job: Job): Promise<AuditReport> {
  job.say('checking the invariants (waits until the system is quiet)');
  return audit(sandbox);
}
