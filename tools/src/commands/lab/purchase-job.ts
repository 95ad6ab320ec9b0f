// One purchase, with its id as soon as a row has it, so that the page can follow it.
import { openDatabases } from '../../sandbox/database-reader.js';
import { type PurchaseScheme, refusalIn, untilFinal, type Wanted } from '../../shop/purchase.js';
import { sendPurchase } from '../break/stimulus.js';
import { untilGid } from '../break/until-gid.js';
import type { Job } from './job-runner.js';
import type { LabTarget } from './target.js';

const BOUND_MS = 120_000;

export interface PurchaseResult {
  readonly orderId: string;
  readonly status: string;
  readonly reason: string | null;
  readonly ms: number;
}

export async function purchase(
  { urls, sandbox }: LabTarget,
  { scheme, wanted }: { scheme: PurchaseScheme; wanted: Wanted },
  job: Job,
): Promise<PurchaseResult> {
  const databases = await openDatabases(sandbox);
  try {
    const since = performance.now();
    const stimulus = sendPurchase(urls, scheme, wanted, job.say);
    job.say(stimulus.what);
    untilGid(stimulus, databases, BOUND_MS).then(
      (found) => found && job.found(found.gid),
      () => {}, // the id comes with the answer
    );
    const answer = await stimulus.answered;
    if (!answer) throw new Error('a purchase has no answer');
    job.found(answer.orderId);
    const final = refusalIn(answer.answered) ?? (await untilFinal(urls, answer.orderId, { boundMs: BOUND_MS }));
    const ms = Math.round(performance.now() - since);
    job.say(`${final?.status ?? 'PENDING'}${final?.reason ? ` (${final.reason})` : ''} after ${ms} ms`);
    return { orderId: answer.orderId, status: final?.status ?? 'PENDING', reason: final?.reason ?? null, ms };
  } finally {
    await databases.close();
  }
}
