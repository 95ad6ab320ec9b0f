import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/outgoing-payload.js';
import { backoffOption, countOption, msOption } from '../core/options.js';

/** Options of the local message table. Times in milliseconds. */
export const localMessageOptions = z.strictObject({
  /** Backoff before a message without all receipts is sent again: first wait, factor, cap. */
  resend: backoffOption(60_000, 2, 3_600_000),
  /** Sends of one message before it is parked. */
  attemptsMax: countOption(12, 10_000),
  /** How long SENT marks are collected. A receipt that arrives first makes the mark unnecessary. */
  markDelayMs: msOption(100),
  /** Largest number of marks in one statement. */
  markBatchMax: countOption(200, 5_000),
  /** Rows in work at the same time, fast path and scan together. The scan leaves a quarter to the fast path. */
  relayWindowMax: countOption(500, 10_000),
  /**
   * Rows of a scan in work at the same time for the same consumers. It limits the effect of a consumer that is down.
   */
  consumerWindowMax: countOption(100, 10_000),
  /** No message is resent while its queue holds this many messages, or any message without a consumer. */
  backlogMax: countOption(1_000, 10_000_000),
  /**
   * Time without a consumer or without a receipt before an alert is raised. Sending continues. After this time each
   * look at an unconsumed queue counts as an attempt, and each rejection by a full queue. A message behind others in
   * its queue is sent again after this time at the latest.
   */
  absentMs: msOption(300_000),
  /** How long a finished message is kept. */
  retentionMs: z
    .number()
    .int()
    .min(1_000)
    .default(7 * 86_400_000),
  /** Longest delay of a message. */
  delayMaxMs: z
    .number()
    .int()
    .min(1_000)
    .max(10 * 365 * 86_400_000)
    .default(400 * 86_400_000),
  /** Largest payload, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
});

export type LocalMessageOptions = z.output<typeof localMessageOptions>;
/**
 * The options of `LocalMessageModule`, before defaults are applied. docs/configuration.md lists each with its unit and default.
 */
export type LocalMessageOptionsInput = z.input<typeof localMessageOptions>;
export const LOCAL_MESSAGE_OPTIONS = Symbol('dtx local message options');
