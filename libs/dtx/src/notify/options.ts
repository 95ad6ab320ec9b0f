import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/payload.js';
import type { CoreOptions } from '../core/options.js';
import { countOption, httpUrlOption, msOption } from '../core/options.js';
import { isAllowEntry } from './ssrf-guard.js';

/** How long an answer's body may still take once its status is known: it is only read to keep the connection. */
export const BODY_GRACE_MS = 1_000;

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

/** Options of best-effort notification. Times in milliseconds. */
export const notifyOptions = z.strictObject({
  /** The app that runs the notification service; all others only publish to it. */
  service: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/),
  /**
   * Standard Webhooks secrets; each signs, so that a receiver may go from the old one to the new one in its own time.
   * Without any nobody is notified.
   */
  secrets: z.array(z.string().min(16)).max(5).default([]),
  /** Whom a notification without a target of its own goes to; nobody by default. */
  defaultTarget: httpUrlOption.optional(),
  /** Targets that may be private all the same: `host`, `host:port`, an address or a CIDR range. */
  allow: z.array(z.string().refine(isAllowEntry, 'expected host, host:port, an address or a CIDR range')).default([]),
  /** The waits between calls (seed: 定时重新调用, 反复 N 次): one call more than steps, then the notification is parked. */
  ladderMs: z
    .array(
      z
        .number()
        .int()
        .min(1)
        .max(7 * 86_400_000),
    )
    .min(1)
    .max(100)
    .default([
      15 * SECOND,
      30 * SECOND,
      3 * MINUTE,
      10 * MINUTE,
      20 * MINUTE,
      30 * MINUTE,
      60 * MINUTE,
      60 * MINUTE,
      60 * MINUTE,
    ]),
  /** From connecting to the status of the answer; its body may take a second more. */
  callTimeoutMs: msOption(10_000),
  /** A longer `Retry-After` is taken for this. */
  retryAfterMaxMs: msOption(3_600_000),
  /** More of an answer is not read. */
  answerMaxBytes: countOption(64 * 1024, 8 * 1024 * 1024),
  /** Largest notification, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
  /**
   * Calls at once, in this process, to all targets together and to any one of them. A target without an answer has one
   * call at once, and all targets without an answer together have half of `concurrencyMax`.
   */
  concurrencyMax: countOption(128, 10_000),
  targetConcurrencyMax: countOption(4, 1_000),
  /** Messages recorded at once. */
  prefetch: countOption(64, 1_000),
  markDelayMs: msOption(5),
  /** The receiver asks for a result that has not come this long after it should have, looking so often. */
  askAfterMs: msOption(120_000),
  askIntervalMs: msOption(15_000),
  /** How long what was delivered is kept. */
  retentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(30 * 86_400_000),
});

export type NotifyOptions = z.output<typeof notifyOptions>;
export type NotifyOptionsInput = z.input<typeof notifyOptions>;
export const NOTIFY_OPTIONS = Symbol('dtx notify options');

/** A call takes its time limit at most, and its mark a moment. */
export function leaseMsOf(core: CoreOptions, options: NotifyOptions): number {
  return Math.max(core.leaseMs, Math.round(options.callTimeoutMs * 1.2) + BODY_GRACE_MS);
}
