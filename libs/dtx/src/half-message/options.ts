import { z } from 'zod';
import { backoffOption, countOption, msOption } from '../core/options.js';

/** Options of half messages. Times in milliseconds. */
export const halfMessageOptions = z.strictObject({
  /** How long a prepared copy waits before its first check, its second, ... Part of the waiting queues' names. */
  levelsMs: z
    .array(z.number().int().min(100).max(86_400_000))
    .min(1)
    .max(12)
    .default([5_000, 15_000, 60_000, 300_000, 900_000]),
  /** Copies checked at once. */
  checkPrefetch: countOption(100, 1_000),
  markDelayMs: msOption(100),
  markBatchMax: countOption(200, 5_000),
  /** How long after the last level the sweeper takes up a verdict that was never marked as sent. */
  sweepAfterMs: msOption(60_000),
  sweepBackoff: backoffOption(60_000, 2, 3_600_000),
  attemptsMax: countOption(12, 10_000),
  /** How long verdicts are kept, beyond the horizon of the last level. */
  retentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(8 * 86_400_000),
  payloadMaxBytes: countOption(256 * 1024, 8 * 1024 * 1024),
});

export type HalfMessageOptions = z.output<typeof halfMessageOptions>;
export type HalfMessageOptionsInput = z.input<typeof halfMessageOptions>;
export const HALF_MESSAGE_OPTIONS = Symbol('dtx half message options');

/** From the prepared copy to the end of the last level. */
export function horizonMs({ levelsMs }: HalfMessageOptions): number {
  return levelsMs.reduce((sum, ttlMs) => sum + ttlMs, 0);
}
