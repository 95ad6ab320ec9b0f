import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/payload.js';
import { backoffOption, countOption, msOption } from '../core/options.js';

/** Options of half messages. Times in milliseconds. */
export const halfMessageOptions = z.strictObject({
  /**
   * How long a prepared copy waits before its first check, its second, and so on: as many checks as levels. Part of the
   * waiting queues' names, so that changing them makes new queues; what waits in the old ones still comes to its check.
   */
  levelsMs: z
    .array(z.number().int().min(100).max(86_400_000))
    .min(1)
    .max(12)
    .default([5_000, 15_000, 60_000, 300_000, 900_000]),
  /** Copies checked at once. */
  checkPrefetch: countOption(100, 1_000),
  /** How long marks (SENT, ROLLED_BACK) are gathered; a lost one costs a check or a duplicate. */
  markDelayMs: msOption(100),
  markBatchMax: countOption(200, 5_000),
  /** Messages being published after their commit; more are left to their checks. */
  sendingMax: countOption(5_000, 100_000),
  /** When the sweeper takes up a verdict that was never marked as sent. Longer than the first level: the check comes first. */
  sweepAfterMs: msOption(60_000),
  /** Wait of the sweeper before a message without its receipts is sent again: first, factor, cap. */
  sweepBackoff: backoffOption(60_000, 2, 3_600_000),
  /** Sends of one message before it is parked. */
  attemptsMax: countOption(12, 10_000),
  /** No resend while a queue has this many messages waiting, or any and no consumer. */
  backlogMax: countOption(1_000, 10_000_000),
  /**
   * How long a consumer may have no instance, and a message no receipt, before a person is told. Sending goes on. From then
   * on each look at a queue that nobody serves is an attempt.
   */
  absentMs: msOption(300_000),
  /** How long final verdicts are kept beyond the end of the last level; longer than any Idempotency-Key. */
  retentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(8 * 86_400_000),
  /** Largest payload, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
});

export type HalfMessageOptions = z.output<typeof halfMessageOptions>;
export type HalfMessageOptionsInput = z.input<typeof halfMessageOptions>;
export const HALF_MESSAGE_OPTIONS = Symbol('dtx half message options');

/** From the prepared copy to the end of its last level, with every check on time. */
export function horizonMs({ levelsMs }: HalfMessageOptions): number {
  return levelsMs.reduce((sum, ttlMs) => sum + ttlMs, 0);
}
