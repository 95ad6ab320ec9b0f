import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/outgoing-payload.js';
import { UNITS_MAX } from '../core/database/shared-transactions.js';
import { OptionsError } from '../core/errors/errors.js';
import type { CoreOptions } from '../core/options.js';
import { backoffOption, countOption, msOption } from '../core/options.js';
import { longestMs } from './order-of-steps.js';
import type { Saga } from './saga-entries.js';

/** Options of sagas. Times in milliseconds. See docs/configuration.md. */
export const sagaOptions = z.strictObject({
  /** Time limit for the answer to one call of a step. A step that takes longer is asked again, and runs once. */
  callTimeoutMs: msOption(3_000),
  /**
   * Grace period after the decision during which a missing app does not count as a failed attempt. Also the time
   * without an instance that has the version of a saga before an alert is raised.
   */
  absentMs: msOption(300_000),
  /**
   * Failed rounds before a saga is compensated on its way to the pivot, or parked on any other way. Each step that is
   * undone, and each step after the pivot, has its own count.
   */
  attemptsMax: countOption(60, 100_000),
  /** Backoff between failed rounds: first wait, factor, cap. */
  backoff: backoffOption(500, 2, 60_000),
  /** Sagas in work at the same time. */
  concurrencyMax: countOption(200, 10_000),
  /** Calls handled at the same time per step of this app. */
  prefetch: countOption(32, 1_000),
  /**
   * The largest number of waiting calls of one step that one transaction handles, one after the other. They share
   * its packets and its COMMIT. After a failure of one, everything is rolled back, and each runs in a transaction of its own.
   */
  callsPerTransaction: countOption(1, UNITS_MAX),
  /** Largest input of a saga, arguments and result of a step, and payload of a signal, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
  /**
   * How long finished sagas and barrier rows are kept. A saga may last seven eighths of it, with its waits. Each app of a
   * saga needs the same one.
   */
  retentionMs: z
    .number()
    .int()
    .min(60_000)
    .default(8 * 86_400_000),
});

export type SagaOptions = z.output<typeof sagaOptions>;
/**
 * The options of `SagaModule`, before defaults are applied. docs/configuration.md lists each with its unit and default.
 */
export type SagaOptionsInput = z.input<typeof sagaOptions>;
export const SAGA_OPTIONS = Symbol('dtx saga options');

/** The part of the retention that a saga may last. The rest is for recovery after an outage. */
const LONGEST_PART = 7 / 8;

/** @throws OptionsError for a saga that may outlast the memory of the apps of its steps */
export function mustFitRetention(saga: Saga, { retentionMs }: SagaOptions): void {
  const longest = longestMs(saga);
  const limit = Math.floor(retentionMs * LONGEST_PART);
  if (longest <= limit) return;
  throw new OptionsError(
    `saga ${saga.name} v${saga.version} may last ${longest} ms with its waits, at most ${limit} ms fit saga.retentionMs (${retentionMs}); ` +
      'raise retentionMs in every app of its steps, or shorten its waits',
  );
}

/** The lease of a row, in milliseconds. It outlasts a group of calls and the look for consumers. It is renewed meanwhile. */
export function leaseMsOf(core: CoreOptions, options: SagaOptions): number {
  return Math.max(core.leaseMs, 2 * options.callTimeoutMs);
}
