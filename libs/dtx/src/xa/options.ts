import { z } from 'zod';
import type { Backoff } from '../core/async/backoff.js';
import type { CoreOptions } from '../core/options.js';
import { backoffOption, countOption, msOption } from '../core/options.js';
import { retentionOutlastsTimeout } from '../core/retention-rule.js';

/** Upper bound of `timeoutMs`. Every xid carries the timeout in six hex digits. */
const TIMEOUT_MS_MAX = 600_000;

const fields = z.strictObject({
  /** Time limit from begin to decision, by the clock of the database that holds the decision log. */
  timeoutMs: z.number().int().min(100).max(TIMEOUT_MS_MAX).default(5_000),
  /** Transactions at the same time in this process. Each one holds one connection to every database that takes part. */
  concurrencyMax: countOption(32, 1_000),
  /** Time limit for a further transaction to get its turn and its connections. */
  acquireTimeoutMs: msOption(2_000),
  /** Largest number of transactions that wait for their turn. Further ones fail with `XaUnavailable`. */
  waitersMax: countOption(1_000, 100_000),
  /** How long the caller waits for the first round of the second phase. The outcome is certain either way. */
  secondPhaseWaitMs: msOption(3_000),
  /** Time limit for one statement of recovery. At the limit its connection is closed. */
  callTimeoutMs: msOption(4_000),
  /** Failed rounds of the second phase before the transaction is parked. The decision is never changed. */
  attemptsMax: countOption(60, 100_000),
  /** Backoff between rounds of the second phase: first wait, factor, cap. */
  backoff: backoffOption(500, 2, 5_000),
  /** How long final marks are collected. */
  markDelayMs: msOption(25),
  /** Largest number of marks in one statement. */
  markBatchMax: countOption(200, 5_000),
  /** How long decisions and witnesses are kept. No prepared branch may come back after this time. */
  retentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(8 * 86_400_000),
  /**
   * Name of this deployment, like `orders-production`. The decision log is bound to it, so a failover needs no
   * confirmation. A copy of the database must have another name. Without it the log is bound to its server.
   */
  deployment: z
    .string()
    .regex(/^[0-9A-Za-z_.:-]{1,64}$/)
    .optional(),
  /**
   * Accept servers that answer a COMMIT before it is on disk. A crash of such a server may leave a transaction in some
   * databases only.
   */
  acceptUnflushed: z.boolean().default(false),
  /** Interval at which the decision log is compared with the committed branches. */
  logCheckIntervalMs: msOption(10_000),
  /** Time without any instance that has a decided branch's database configured, before an alert is raised. */
  unknownBranchMs: msOption(3_600_000),
});

/** Options of XA. Times in milliseconds. See docs/configuration.md. */
export const xaOptions = fields.superRefine((options, context) => {
  retentionOutlastsTimeout(options, context);
  const budgetMs = leastWaitMs(options.backoff, options.attemptsMax);
  const silenceMs = silenceSecondsOf(options) * 1_000;
  if (budgetMs >= silenceMs) return;
  const attempts = `${options.attemptsMax} attempts with this backoff are used up after ${budgetMs} ms`;
  const session = `a server ends the session of a stopped process after ${silenceMs} ms (timeoutMs is ${options.timeoutMs})`;
  context.addIssue({ code: 'custom', path: ['attemptsMax'], message: `${attempts}, before ${session}` });
});

export type XaOptions = z.output<typeof xaOptions>;
/**
 * The options of `XaModule`, before defaults are applied. docs/configuration.md lists each with its unit and default.
 */
export type XaOptionsInput = z.input<typeof xaOptions>;
export const XA_OPTIONS = Symbol('dtx xa options');

/**
 * The lease of a row, in milliseconds: one call to resolve a branch from another session, and a margin to record the
 * result.
 */
export function leaseMsOf(core: CoreOptions, { callTimeoutMs }: XaOptions): number {
  return Math.max(core.leaseMs, callTimeoutMs + 1_000);
}

/** Idle time, in seconds, after which the server ends a session. This also ends the branch of a stopped process. */
export function silenceSecondsOf({ timeoutMs }: Pick<XaOptions, 'timeoutMs'>): number {
  return Math.ceil(timeoutMs / 1_000) + 2;
}

/**
 * Time from its begin, in milliseconds, during which a live session may hold a branch. The last statement comes before
 * the deadline, and then the server waits for the idle limit.
 */
export function heldForMs(options: Pick<XaOptions, 'timeoutMs'>): number {
  return options.timeoutMs + silenceSecondsOf(options) * 1_000 + HELD_MARGIN_MS;
}

/** Margin for the server, which ends idle sessions with a delay. */
const HELD_MARGIN_MS = 1_000;

/** The sum of the waits between this many attempts, without jitter, in milliseconds. */
function leastWaitMs({ firstMs, factor, capMs }: Backoff, attempts: number): number {
  let total = 0;
  for (let attempt = 0, wait = firstMs; attempt < attempts; attempt++, wait *= factor) {
    if (wait >= capMs) return total + (attempts - attempt) * capMs;
    total += wait;
  }
  return Math.round(total);
}
