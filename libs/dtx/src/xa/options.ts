import { z } from 'zod';
import type { CoreOptions } from '../core/options.js';
import { backoffOption, countOption, msOption } from '../core/options.js';

/** The timeout travels in six hex digits of every xid. */
const TIMEOUT_MS_MAX = 600_000;

/** Options of XA. Times in milliseconds. */
export const xaOptions = z.strictObject({
  /** From the begin to the decision, by the clock of the database that holds the decision log. */
  timeoutMs: z.number().int().min(100).max(TIMEOUT_MS_MAX).default(5_000),
  /** Transactions at once in this process; each holds one connection to every database that takes part. */
  concurrencyMax: countOption(32, 1_000),
  /** How long one more waits for its turn, and for its connections. */
  acquireTimeoutMs: msOption(2_000),
  waitersMax: countOption(1_000, 100_000),
  /** How long the caller waits for the first round of the second phase; the outcome is certain either way. */
  secondPhaseWaitMs: msOption(3_000),
  /** How long one statement of the recovery may take before its connection is given up. */
  callTimeoutMs: msOption(4_000),
  /** Rounds of the second phase that failed before the transaction is parked. It is never flipped. */
  attemptsMax: countOption(60, 100_000),
  backoff: backoffOption(500, 2, 5_000),
  /** How long final marks are gathered. */
  markDelayMs: msOption(25),
  markBatchMax: countOption(200, 5_000),
  /** How long decisions and witnesses are kept: the longest time after which a branch may come back from the dead. */
  retentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(8 * 86_400_000),
});

export type XaOptions = z.output<typeof xaOptions>;
export type XaOptionsInput = z.input<typeof xaOptions>;
export const XA_OPTIONS = Symbol('dtx xa options');

/** A branch takes one call to be settled from another session, and a moment to write down what came of it. */
export function leaseMsOf(core: CoreOptions, { callTimeoutMs }: XaOptions): number {
  return Math.max(core.leaseMs, callTimeoutMs + 1_000);
}

/** A server ends a session that is silent for so long, and with it the branch of a manager that was stopped. */
export function silenceSecondsOf({ timeoutMs }: XaOptions): number {
  return Math.ceil(timeoutMs / 1_000) + 2;
}
