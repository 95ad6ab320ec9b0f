import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/payload.js';
import type { CoreOptions } from '../core/options.js';
import { backoffOption, countOption, msOption, retentionOutlastsTimeout } from '../core/options.js';

const fields = z.strictObject({
  /** How long all Tries together may take, unless the transaction says otherwise. */
  timeoutMs: msOption(5_000),
  /** How long one Confirm or Cancel call waits for its answer before it counts as failed. */
  callTimeoutMs: msOption(2_000),
  /** How long the caller waits for the first round of the second phase; the outcome is certain either way. */
  secondPhaseWaitMs: msOption(3_000),
  /**
   * How long after the decision it is no attempt that nobody serves a participant: a restart or a deployment takes a while.
   * At a participant, how long a Try may wait for its second phase before a person is told.
   */
  absentMs: msOption(300_000),
  /** Rounds of the second phase before the transaction is parked: about an hour. It is never flipped. */
  attemptsMax: countOption(60, 100_000),
  backoff: backoffOption(500, 2, 60_000),
  /** Second phases in work at once. */
  concurrencyMax: countOption(200, 10_000),
  /** How long final marks are gathered. The caller of a cancelled transaction waits for its mark. */
  markDelayMs: msOption(25),
  markBatchMax: countOption(200, 5_000),
  /** Calls handled at once per participant: Tries, and whatever initiators of the version before send. */
  prefetch: countOption(32, 1_000),
  /** Confirms and Cancels handled at once per participant, beside its Tries. */
  secondPhasePrefetch: countOption(16, 1_000),
  /** Largest arguments of one branch, and largest result of a Try, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
  /** How long settled transactions and barriers are kept; longer than any call can wander. */
  retentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(8 * 86_400_000),
});

/** Options of TCC. Times in milliseconds. */
export const tccOptions = fields.superRefine(retentionOutlastsTimeout);

export type TccOptions = z.output<typeof tccOptions>;
export type TccOptionsInput = z.input<typeof tccOptions>;
export const TCC_OPTIONS = Symbol('dtx tcc options');

/** A round of the second phase takes as long as its slowest call, and a moment to see whether anybody is there. */
export function leaseMsOf(core: CoreOptions, options: TccOptions): number {
  return Math.max(core.leaseMs, 2 * options.callTimeoutMs);
}
