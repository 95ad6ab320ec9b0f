import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/payload.js';
import type { CoreOptions } from '../core/options.js';
import { backoffOption, countOption, msOption, retentionOutlastsTimeout } from '../core/options.js';

const fields = z.strictObject({
  /** Time limit for all Tries together, unless the transaction sets its own. */
  timeoutMs: msOption(5_000),
  /** Time limit for the answer to one Confirm or Cancel. A later answer counts as failed. */
  callTimeoutMs: msOption(2_000),
  /** How long the caller waits for the first round of the second phase. The outcome is final before that wait. */
  secondPhaseWaitMs: msOption(3_000),
  /**
   * Grace period after the decision during which a missing participant does not count as a failed attempt. Covers
   * restarts and deployments. At a participant: how long a Try may wait for its second phase before an alert is raised.
   */
  absentMs: msOption(300_000),
  /**
   * Rounds of the second phase before the transaction is parked, by default about an hour. The decision is never
   * reversed.
   */
  attemptsMax: countOption(60, 100_000),
  backoff: backoffOption(500, 2, 60_000),
  /** Second phases that run at once in this process. */
  concurrencyMax: countOption(200, 10_000),
  /**
   * How long final marks are collected before one statement writes them. The caller of a cancelled transaction waits
   * for its mark.
   */
  markDelayMs: msOption(25),
  markBatchMax: countOption(200, 5_000),
  /** Calls handled at once per participant: Tries, and all calls of initiators of the version before. */
  prefetch: countOption(32, 1_000),
  /** Confirms and Cancels handled at once per participant, beside its Tries. */
  secondPhasePrefetch: countOption(16, 1_000),
  /** Largest arguments of one branch, and largest result of a Try, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
  /** How long settled transactions and barrier rows are kept. Must exceed the longest delay of a call. */
  retentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(8 * 86_400_000),
});

/** Options of TCC. Times in milliseconds. See docs/configuration.md. */
export const tccOptions = fields.superRefine(retentionOutlastsTimeout);

export type TccOptions = z.output<typeof tccOptions>;
export type TccOptionsInput = z.input<typeof tccOptions>;
export const TCC_OPTIONS = Symbol('dtx tcc options');

/** The lease of a row, in milliseconds. A round lasts as long as its slowest call, and a moment to count consumers. */
export function leaseMsOf(core: CoreOptions, options: TccOptions): number {
  return Math.max(core.leaseMs, 2 * options.callTimeoutMs);
}
