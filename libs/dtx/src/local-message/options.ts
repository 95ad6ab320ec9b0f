import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/payload.js';
import { backoffOption, countOption, msOption } from '../core/options.js';

/** Options of the local message table. Times in milliseconds. */
export const localMessageOptions = z.strictObject({
  /** Wait before a message without its receipts is sent again: first, factor, cap. */
  resend: backoffOption(60_000, 2, 3_600_000),
  /** Sends of one message before it is parked. */
  attemptsMax: countOption(12, 10_000),
  /** How long the mark SENT is gathered; a receipt that comes first makes it unnecessary. */
  markDelayMs: msOption(100),
  markBatchMax: countOption(200, 5_000),
  /** Rows in work at once, fast path and scan together. */
  relayWindowMax: countOption(500, 10_000),
  /**
   * Rows in work at once, of those that a scan has claimed, that wait for the same consumers. The backlog of a consumer
   * that is gone takes no more of the scan.
   */
  consumerWindowMax: countOption(50, 10_000),
  /** No resend while a queue has this many messages waiting, or any and no consumer. */
  backlogMax: countOption(1_000, 10_000_000),
  /**
   * How long a consumer may have no instance, and a message no receipt, before a person is told. Sending goes on. From then
   * on each look at a queue that nobody serves is an attempt.
   */
  absentMs: msOption(300_000),
  /** How long a finished message is kept. */
  retentionMs: z
    .number()
    .int()
    .min(1_000)
    .default(7 * 86_400_000),
  /** Largest payload, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
});

export type LocalMessageOptions = z.output<typeof localMessageOptions>;
export type LocalMessageOptionsInput = z.input<typeof localMessageOptions>;
export const LOCAL_MESSAGE_OPTIONS = Symbol('dtx local message options');
