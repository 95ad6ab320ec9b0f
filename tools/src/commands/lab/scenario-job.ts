// The purchases of the demo, and the audit after them.
import { type AuditReport, audit } from '../../audit/index.js';
import { makePurchases, type ShownPurchase, setTheScene } from '../demo/purchases.js';
import type { Job } from './job-runner.js';
import type { LabTarget } from './target.js';

export interface ScenarioResult {
  readonly rows: readonly ShownPurchase[];
  /** Whether every purchase ended as it must. */
  readonly asExpected: boolean;
}

export async function playScenario({ urls }: LabTarget, job: Job): Promise<ScenarioResult> {
  job.say('accounts and stock are set');
  await setTheScene(urls);
  const rows: ShownPurchase[] = [];
  const onMade = (row: ShownPurchase, total: number) => {
    rows.push(row);
    job.progress(rows.length, total);
    job.set({ result: { rows, asExpected: rows.every((one) => one.asExpected) } });
  };
  await makePurchases(urls, { say: job.say, onMade });
  return { rows, asExpected: rows.every((one) => one.asExpected) };
}

export async function playAudit({ sandbox }: LabTarget, job: Job): Promise<AuditReport> {
  job.say('checking the invariants (waits until the system is quiet)');
  return audit(sandbox);
}
