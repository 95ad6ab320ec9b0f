import { z } from 'zod';
import type { Backoff } from '../core/async/backoff.js';
import type { CoreOptions } from '../core/options.js';
import { backoffOption, countOption, msOption, retentionOutlastsTimeout } from '../core/options.js';

/** Upper bound of `timeoutMs`. Every xid carries the timeout in six hex digits. */
const TIMEOUT_MS_MAX = 600_000;

const fields = z.strictObject({
  /** Time from the begin to the decision, by the clock of the database that holds the decision log. */
  timeoutMs: z.number().int().min(100).max(TIMEOUT_MS_MAX).default(5_000),
  /** Transactions that run at once in this process. Each holds one connection to every database of the transaction. */
  concurrencyMax: countOption(32, 1_000),
  /** How long a transaction waits for its place, and then for its connections. */
  acquireTimeoutMs: msOption(2_000),
  waitersMax: countOption(1_000, 100_000),
  /** How long the caller waits for the first round of the second phase. The outcome is final before that wait. */
  secondPhaseWaitMs: msOption(3_000),
  /** Limit for one statement of recovery. A connection that exceeds it is ended. */
  callTimeoutMs: msOption(4_000),
  /** Failed rounds of the second phase before the transaction is parked. The decision is never reversed. */
  attemptsMax: countOption(60, 100_000),
  backoff: backoffOption(500, 2, 5_000),
  /** How long DONE marks are collected before one statement writes them. */
  markDelayMs: msOption(25),
  markBatchMax: countOption(200, 5_000),
  /**
   * How long decisions and witnesses are kept. Must exceed the longest time after which a restored server may bring a
   * prepared branch back.
   */
  retentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(8 * 86_400_000),
  /**
   * The name of this deployment, for example `orders-production`. The decision log is bound to it. A failover to
   * another server is then recognized, and a copy of the database under another name is not taken for the original.
   * Without a name the log is bound to its server, and an operator must confirm a failover.
   */
  deployment: z
    .string()
    .regex(/^[0-9A-Za-z_.:-]{1,64}$/)
    .optional(),
  /**
   * Accepts servers that answer a COMMIT before it is on disk. A crash of such a server may then leave a transaction
   * committed in some databases only.
   */
  acceptUnflushed: z.boolean().default(false),
  /** How often the decision log is compared with the witnesses of committed branches. */
  logCheckIntervalMs: msOption(10_000),
  /** Time after which a decided branch raises an alert if no instance has its database configured. */
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
