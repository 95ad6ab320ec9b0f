import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/outgoing-payload.js';
import { UNITS_MAX } from '../core/database/shared-transactions.js';
import { backoffOption, countOption, msOption } from '../core/options.js';

/** Options of half messages. Times in milliseconds. */
export const halfMessageOptions = z.strictObject({
  /**
   * Delays before the first check, the second check and so on. The delays are part of the queue names. After a change
   * the old queues still deliver their messages.
   */
  levelsMs: z
    .array(z.number().int().min(100).max(86_400_000))
    .min(1)
    .max(12)
    .default([5_000, 15_000, 60_000, 300_000, 900_000]),
  /** Prepared messages checked at the same time. */
  checkPrefetch: countOption(100, 1_000),
  /** How long marks (SENT, ROLLED_BACK) are collected. A lost mark costs one check or one duplicate. */
  markDelayMs: msOption(100),
  /** Largest number of marks in one statement. */
  markBatchMax: countOption(200, 5_000),
  /**
   * The largest number of waiting sends of one contract whose work one transaction does, one after the other. They share its
   * packets and its COMMIT. After a failure of one, everything is rolled back, and each runs in a transaction of its own.
   */
  sendsPerTransaction: countOption(1, UNITS_MAX),
  /** Messages published after their commit at the same time. Further ones are left to their check. */
  sendingMax: countOption(5_000, 100_000),
  /** Delay before the sweeper takes a verdict that was never marked SENT. It should exceed the first check delay. */
  sweepAfterMs: msOption(60_000),
  /** Backoff of the sweeper before a message without all receipts is sent again: first wait, factor, cap. */
  sweepBackoff: backoffOption(60_000, 2, 3_600_000),
  /** Sends of one message before it is parked. */
  attemptsMax: countOption(12, 10_000),
  /** No message is resent while its queue holds this many messages, or any message without a consumer. */
  backlogMax: countOption(1_000, 10_000_000),
  /**
   * Time without a consumer or without a receipt before an alert is raised. Sending continues. After this time each
   * look at an unconsumed queue counts as an attempt, and each rejection by a full queue. A message behind others in
   * its queue is sent again after this time at the latest.
   */
  absentMs: msOption(300_000),
  /**
   * How long final verdicts are kept after the last check delay. The effective time is at least `idempotencyRetentionMs` of
   * `DtxModule`.
   */
  retentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(8 * 86_400_000),
  /** Largest payload, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
});

export type HalfMessageOptions = z.output<typeof halfMessageOptions>;
/**
 * The options of `HalfMessageModule`, before defaults are applied. docs/configuration.md lists each with its unit and default.
 */
export type HalfMessageOptionsInput = z.input<typeof halfMessageOptions>;
export const HALF_MESSAGE_OPTIONS = Symbol('dtx half message options');

/** Time from the prepared message to its last check, if every check is on time. */
export function horizonMs({ levelsMs }: HalfMessageOptions): number {
  return levelsMs.reduce((sum, ttlMs) => sum + ttlMs, 0);
}
