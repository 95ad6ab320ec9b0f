import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/outgoing-payload.js';
import { UNITS_MAX } from '../core/database/shared-transactions.js';
import { DtxError } from '../core/errors/errors.js';
import type { CoreOptions } from '../core/options.js';
import { backoffOption, countOption, msOption } from '../core/options.js';
import { retentionOutlastsTimeout } from '../core/retention-rule.js';

const fields = z.strictObject({
  /** Time limit for registering a transaction and all its Tries, unless `run` gives another one. */
  timeoutMs: msOption(5_000),
  /** Time limit for the answer to one Confirm or Cancel call. */
  callTimeoutMs: msOption(2_000),
  /** How long the caller waits for the first round of the second phase. The outcome is certain either way. */
  secondPhaseWaitMs: msOption(3_000),
  /**
   * Grace period after the decision during which a missing participant does not count as a failed attempt. At a
   * participant: time without a second phase after a Try before an alert is raised.
   */
  absentMs: msOption(300_000),
  /**
   * Rounds of the second phase before the transaction is parked, about an hour by default. The decision is never
   * changed.
   */
  attemptsMax: countOption(60, 100_000),
  /** Backoff between rounds of the second phase: first wait, factor, cap. */
  backoff: backoffOption(500, 2, 60_000),
  /** Second phases in work at the same time. */
  concurrencyMax: countOption(200, 10_000),
  /** How long final marks are collected. The caller of a cancelled transaction waits for its mark. */
  markDelayMs: msOption(25),
  /** Largest number of marks in one statement. */
  markBatchMax: countOption(200, 5_000),
  /** Tries handled at the same time per participant, and all calls of initiators of the previous version. */
  prefetch: countOption(32, 1_000),
  /** Confirm and Cancel calls handled at the same time per participant, in addition to its Tries. */
  secondPhasePrefetch: countOption(16, 1_000),
  /**
   * The largest number of waiting calls of one participant and phase that one transaction handles, one after the other. They share
   * its packets and its COMMIT. After a failure of one, everything is rolled back, and each runs in a transaction of its own.
   */
  callsPerTransaction: countOption(1, UNITS_MAX),
  /** Largest arguments of one branch, and largest result of a Try, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
  /** How long settled transactions and barrier rows are kept. It must exceed the lifetime of any late call. */
  retentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(8 * 86_400_000),
});

/** Options of TCC. Times in milliseconds. See docs/configuration.md. */
export const tccOptions = fields.superRefine(retentionOutlastsTimeout);

export type TccOptions = z.output<typeof tccOptions>;
/**
 * The options of `TccModule`, before defaults are applied. docs/configuration.md lists each with its unit and default.
 */
export type TccOptionsInput = z.input<typeof tccOptions>;
export const TCC_OPTIONS = Symbol('dtx tcc options');

/**
 * The time limit of one run: its own one, or that of the options. It has the bounds of the option, and the same relation
 * to the retention.
 * @throws DtxError
 */
export function timeoutOf(given: number | undefined, options: TccOptions): number {
  if (given === undefined) return options.timeoutMs;
  const checked = tccOptions.safeParse({ ...options, timeoutMs: given });
  if (checked.success) return given;
  throw new DtxError(`invalid timeoutMs of a TCC transaction: ${given}; ${checked.error.issues[0]!.message}`);
}

/** The lease of a row, in milliseconds. A round lasts as long as its slowest call, and a moment to count consumers. */
export function leaseMsOf(core: CoreOptions, options: TccOptions): number {
  return Math.max(core.leaseMs, 2 * options.callTimeoutMs);
}

/** Row lock wait of a second phase. Shorter than the call, so that a locked row is answered before its time limit. */
export function secondLockWaitSeconds(core: CoreOptions, { callTimeoutMs }: TccOptions): number {
  return Math.max(1, Math.min(core.lockWaitSeconds, Math.floor((callTimeoutMs * 0.75) / 1_000)));
}
