import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/outgoing-payload.js';
import type { CoreOptions } from '../core/options.js';
import { countOption, httpUrlOption, msOption } from '../core/options.js';
import { isNotifySecret, SECRET_RULE } from './signature.js';
import { isAllowEntry } from './ssrf-guard.js';

/** Time limit for the body of an answer after its status. The body is read only to reuse the connection. */
export const BODY_GRACE_MS = 1_000;

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

/** Options of best-effort notification. Times in milliseconds. */
export const notifyOptions = z.strictObject({
  /** Name of the app that runs the notification service. All other apps only publish to it. */
  service: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/),
  /**
   * Standard Webhooks secrets of the service. Each one signs, so that receivers can change to a new secret at any time.
   * Without a secret the service publishes none of its own notifications, and those of other apps wait in its table.
   */
  secrets: z.array(z.string().refine(isNotifySecret, SECRET_RULE)).max(5).default([]),
  /**
   * Target of notifications that name none. Without it the service publishes none of them, and `withoutTarget` decides about
   * those of other apps.
   */
  defaultTarget: httpUrlOption.optional(),
  /**
   * A notification of another app without any target. `park` keeps it with an alert, and a retry sends it to the default
   * target that is set then. `drop` is for a service that means to have none.
   */
  withoutTarget: z.enum(['park', 'drop']).default('park'),
  /**
   * In an app without the service: whether the service has a default target. With `false`, a notification without a
   * target is not published.
   */
  serviceHasDefaultTarget: z.boolean().default(true),
  /** Private targets that may be called: `host`, `host:port`, an address or a CIDR range. */
  allow: z.array(z.string().refine(isAllowEntry, 'expected host, host:port, an address or a CIDR range')).default([]),
  /**
   * Retry schedule: the waits between two calls. After one call more than there are waits, the notification is parked.
   */
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
  /** Time limit from connecting to the status of the answer. The body may take one second more. */
  callTimeoutMs: msOption(10_000),
  /** Upper limit for a wait that `Retry-After` asks for. */
  retryAfterMaxMs: msOption(3_600_000),
  /** Largest part of an answer's body that is read. */
  answerMaxBytes: countOption(64 * 1024, 8 * 1024 * 1024),
  /** Largest notification, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
  /** Calls at the same time in this process, to all targets together. Targets without an answer share half of it. */
  concurrencyMax: countOption(128, 10_000),
  /** Calls at the same time to one target. A target without an answer gets one. */
  targetConcurrencyMax: countOption(4, 1_000),
  /** Notifications recorded at the same time. */
  prefetch: countOption(64, 1_000),
  /** How long delivery marks are collected. */
  markDelayMs: msOption(50),
  /** Delay after which a receiver asks for a result that has not arrived. */
  askAfterMs: msOption(120_000),
  /** Interval at which a receiver looks for missing results. */
  askIntervalMs: msOption(15_000),
  /** How long delivered notifications are kept. */
  retentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(30 * 86_400_000),
});

export type NotifyOptions = z.output<typeof notifyOptions>;
/**
 * The options of `NotifyModule`, before defaults are applied. docs/configuration.md lists each with its unit and default.
 */
export type NotifyOptionsInput = z.input<typeof notifyOptions>;
export const NOTIFY_OPTIONS = Symbol('dtx notify options');

/** The lease of a notification outlasts its call, with a margin for the mark. */
export function leaseMsOf(core: CoreOptions, options: NotifyOptions): number {
  return Math.max(core.leaseMs, Math.round(options.callTimeoutMs * 1.2) + BODY_GRACE_MS);
}
