import { isoTime } from '../core/durable/alerts.js';
import type { Tried } from '../core/durable/durable-work.js';
import type { CallDetails, Verdict } from './call-messages.js';
import type { TccRow } from './tcc-tables.js';

/**
 * The result of one branch. `away`: the participant or its database is unavailable. That is not counted as an attempt.
 */
export interface BranchResult {
  readonly verdict: Verdict['verdict'];
  readonly error: string;
  /** The participant was out of capacity or met a locked row. It is called again sooner than an unavailable one. */
  readonly isBusy?: boolean;
}

/** The result of a round, from the branches that have not carried out the decision. */
export function resultOf(failures: readonly BranchResult[], busyRetryMs: number): Tried {
  const error = failures.map((one) => one.error).join('; ');
  if (failures.some(({ verdict }) => verdict === 'illegal')) return { kind: 'fatal', error };
  if (!failures.every(({ verdict }) => verdict === 'away')) return { kind: 'failed', error };
  return failures.some(({ isBusy }) => isBusy)
    ? { kind: 'unreachable', delayMs: busyRetryMs }
    : { kind: 'unreachable' };
}

/** The call of a decided transaction to each of its branches. */
export function secondCallOf({ id: gid, incarnation, decision, reason, decided_at: at }: TccRow): CallDetails {
  return {
    gid,
    incarnation: incarnation ?? undefined,
    phase: decision === 'CONFIRM' ? 'confirm' : 'cancel',
    reason: reason ?? undefined,
    decidedAt: isoTime(at) ?? undefined,
  };
}
