import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/payload.js';
import { backoffOption, countOption, msOption } from '../core/options.js';

/** Options of reliable messages. Times in milliseconds. */
export const confirmedPublishOptions = z.strictObject({
  /** Tries to publish before the transaction is rolled back. Its locks are held meanwhile: few and short. */
  triesMax: countOption(3, 100),
  backoff: backoffOption(100, 2, 1_000),
  /**
   * How long all tries of one message may take together. Four fifths of `lockWaitSeconds` at the most: those who wait for
   * the rows of this transaction must not give up before it does.
   */
  timeoutMs: msOption(2_000),
  /**
   * Messages at once that wait for their confirm. Each holds a connection of the app's pool meanwhile. A quarter of that
   * pool unless this says otherwise.
   */
  concurrencyMax: z.number().int().min(1).max(1_000).optional(),
  /** Largest payload, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
});

export type ConfirmedPublishOptions = z.output<typeof confirmedPublishOptions>;
export type ConfirmedPublishOptionsInput = z.input<typeof confirmedPublishOptions>;
export const CONFIRMED_PUBLISH_OPTIONS = Symbol('dtx reliable message options');
