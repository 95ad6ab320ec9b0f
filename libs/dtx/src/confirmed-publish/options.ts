import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/outgoing-payload.js';
import { backoffOption, countOption, msOption } from '../core/options.js';

/** Options of confirmed publish. Times in milliseconds. */
export const confirmedPublishOptions = z.strictObject({
  /** Publish attempts before the transaction is rolled back. Its row locks are held meanwhile, so keep it small. */
  triesMax: countOption(3, 100),
  /** Backoff between publish attempts: first wait, factor, cap. */
  backoff: backoffOption(100, 2, 1_000),
  /**
   * Time limit for all attempts of one message. The effective limit is at most four fifths of `lockWaitSeconds`, so
   * that waiting transactions do not fail first.
   */
  timeoutMs: msOption(2_000),
  /**
   * Messages that may wait for a confirm at the same time. Each one holds a connection of the app's pool. The default
   * is a quarter of that pool.
   */
  concurrencyMax: z.number().int().min(1).max(1_000).optional(),
  /** Largest payload, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
});

export type ConfirmedPublishOptions = z.output<typeof confirmedPublishOptions>;
/**
 * The options of `ConfirmedPublishModule`, before defaults are applied. docs/configuration.md lists each with its unit and default.
 */
export type ConfirmedPublishOptionsInput = z.input<typeof confirmedPublishOptions>;
export const CONFIRMED_PUBLISH_OPTIONS = Symbol('dtx reliable message options');
