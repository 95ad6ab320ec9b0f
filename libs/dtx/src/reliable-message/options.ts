import { z } from 'zod';
import { payloadMaxBytesOption } from '../core/broker/payload.js';
import { backoffOption, countOption } from '../core/options.js';

/** Options of reliable messages. Times in milliseconds. */
export const reliableMessageOptions = z.strictObject({
  /** Tries to publish before the transaction is rolled back. Its locks are held meanwhile: few and short. */
  triesMax: countOption(3, 100),
  backoff: backoffOption(100, 2, 1_000),
  /** Largest payload, in bytes of JSON. */
  payloadMaxBytes: payloadMaxBytesOption(),
});

export type ReliableMessageOptions = z.output<typeof reliableMessageOptions>;
export type ReliableMessageOptionsInput = z.input<typeof reliableMessageOptions>;
export const RELIABLE_MESSAGE_OPTIONS = Symbol('dtx reliable message options');
